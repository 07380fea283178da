/**
 * The device of method `host` for picked files where there is no thread to read them in: the main
 * thread of a page that is not cross-origin isolated. Each read is a promise of the browser's, so
 * several are under way at once and nothing blocks.
 */
import type { CoreInstance } from '../../bindings/core.ts';
import type { IoDevice } from '../../bindings/host.ts';
import {
  IOVEC_BYTES,
  PGAIO_OP_READV,
  PGAIO_OP_WRITEV,
  PgAioHandle,
} from '../../bindings/layout.ts';
import type { BlobProvider } from './blob-provider.ts';
import { iovecViews, lengthOf, scatter } from './transfer.ts';

const FIELDS = PgAioHandle.fields;
const EBADF = 9;
const EIO = 5;

export class BlobDevice implements IoDevice {
  readonly #provider: BlobProvider;
  #core: CoreInstance | undefined;

  constructor(provider: BlobProvider) {
    this.#provider = provider;
  }

  /** The instance whose I/Os it is to complete. */
  serve(core: CoreInstance): void {
    this.#core = core;
  }

  submit(ids: readonly number[]): void {
    for (const id of ids) {
      this.#perform(id).then(
        (raw) => this.#complete(id, raw),
        () => this.#complete(id, -EIO),
      );
    }
  }

  async #perform(id: number): Promise<number> {
    const core = this.#core;
    if (core === undefined) return -EIO;
    const at = core.handleAt(id);
    const op = core.u8[at + FIELDS.op.offset];
    const blob = this.#provider.blobOf(core.i32[(at + FIELDS.fd.offset) >>> 2] ?? -1);
    if (blob === undefined || op === PGAIO_OP_WRITEV) return -EBADF;
    if (op !== PGAIO_OP_READV) return 0;
    const from = Number(core.u64[(at + FIELDS.offset.offset) >>> 3] ?? 0n);
    const first = core.u32[(at + FIELDS.iovec_off.offset) >>> 2] ?? 0;
    const count = new DataView(core.memory.buffer).getUint16(at + FIELDS.iov_length.offset, true);
    const views = iovecViews(core.memory, core.ctl('iovecs') + first * IOVEC_BYTES, count);
    const bytes = await blob.slice(from, from + lengthOf(views)).arrayBuffer();
    scatter(views, new Uint8Array(bytes));
    return bytes.byteLength;
  }

  #complete(id: number, raw: number): void {
    if (this.#core?.closed === false) this.#core.complete(id, raw);
  }
}
