/**
 * What happens in the engine, on node:diagnostics_channel: `pgaio:backend`, `pgaio:worker`,
 * `pgaio:thread`, `pgaio:report`. Without a subscriber nothing is published.
 */
import { channel } from 'node:diagnostics_channel';
import type { AioEvent } from '../../bindings/host.ts';

const CHANNELS = {
  backend: channel('pgaio:backend'),
  worker: channel('pgaio:worker'),
  thread: channel('pgaio:thread'),
  report: channel('pgaio:report'),
} as const satisfies Record<AioEvent['name'], unknown>;

export function publishEvent(event: AioEvent): void {
  const { [event.name]: target } = CHANNELS;
  if (target.hasSubscribers) target.publish(event);
}
