/** How far a verification has come: a bar on a terminal, a line a second elsewhere if asked for. */
import type cliProgress from 'cli-progress';
import type { Counts } from '../verify/verification.ts';
import { COLUMNS, digits, MB, megabytes, perSecond } from './words.ts';

/** A verification that is over sooner needs no bar. */
const BAR_AFTER_SECONDS = 0.5;
const LINE_SECONDS = 1;
/** Of the text beside the bar. */
const TEXT_COLUMNS = 60;
const BAR_COLUMNS_MAX = 30;
const BAR_COLUMNS_MIN = 5;

/** undefined: a bar on a terminal, nothing elsewhere. */
export type ProgressWish = boolean | undefined;

export class Progress {
  readonly #kind: 'bar' | 'lines' | 'none';
  #library: typeof cliProgress | undefined;
  #loading = false;
  #bar: cliProgress.SingleBar | undefined;
  #nextLine = LINE_SECONDS;

  constructor(wish: ProgressWish) {
    const terminal = process.stderr.isTTY === true;
    if (wish === false) this.#kind = 'none';
    else if (terminal) this.#kind = 'bar';
    else this.#kind = wish === true ? 'lines' : 'none';
  }

  update(counts: Counts, listed: boolean): void {
    if (this.#kind === 'lines') this.#line(counts);
    else if (this.#kind === 'bar') this.#draw(counts, listed);
  }

  /** As pg_checksums has it, and then the rate. */
  #line(counts: Counts, last = false): void {
    if (counts.seconds < this.#nextLine && !last) return;
    this.#nextLine = Math.floor(counts.seconds) + LINE_SECONDS;
    const { bytes, bytesDone, seconds } = counts;
    const mebi = (amount: number): number => Math.floor(amount / (1 << 20));
    const percent = bytes > 0 ? Math.floor((100 * bytesDone) / bytes) : 100;
    const rate = digits(perSecond(bytesDone, seconds) / MB);
    const done = `${mebi(bytesDone)}/${mebi(bytes)} MB (${percent}%) computed`;
    process.stderr.write(`${done}, ${rate} MB/s, ${leftOf(counts)} left\n`);
  }

  #draw(counts: Counts, listed: boolean): void {
    if (counts.seconds < BAR_AFTER_SECONDS) return;
    if (this.#library === undefined) {
      this.#load();
      return;
    }
    const { bytes, bytesDone, seconds } = counts;
    const payload = {
      done: megabytes(bytesDone),
      all: `${megabytes(bytes)}${listed ? '' : '+'}`,
      rate: digits(perSecond(bytesDone, seconds) / MB),
      left: listed ? leftOf(counts) : '?',
    };
    if (this.#bar === undefined) {
      this.#bar = newBar(this.#library);
      this.#bar.start(bytes, bytesDone, payload);
      return;
    }
    this.#bar.setTotal(bytes);
    this.#bar.update(bytesDone, payload);
  }

  /** Only those who wait long enough pay for it. */
  #load(): void {
    if (this.#loading) return;
    this.#loading = true;
    import('cli-progress').then(({ default: library }) => {
      this.#library = library;
    });
  }

  /** Removes the bar; the last line says 100 %. */
  stop(counts: Counts): void {
    if (this.#kind === 'lines') this.#line(counts, true);
    this.#bar?.stop();
    this.#bar = undefined;
  }
}

function newBar(library: typeof cliProgress): cliProgress.SingleBar {
  const room = (process.stderr.columns ?? COLUMNS) - TEXT_COLUMNS;
  return new library.SingleBar({
    format: '{bar} {percentage}%  {done} of {all} MB, {rate} MB/s, {left} left',
    stream: process.stderr,
    barsize: Math.max(BAR_COLUMNS_MIN, Math.min(BAR_COLUMNS_MAX, room)),
    barCompleteChar: '#',
    barIncompleteChar: '.',
    hideCursor: true,
    clearOnComplete: true,
    gracefulExit: false,
  });
}

function leftOf({ bytes, bytesDone, seconds }: Counts): string {
  const rate = perSecond(bytesDone, seconds);
  return rate > 0 ? durationOf(Math.max(0, bytes - bytesDone) / rate) : '?';
}

function durationOf(seconds: number): string {
  const whole = Math.ceil(seconds);
  const two = (number: number): string => String(Math.floor(number)).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)}:${two(whole % 60)}`;
  return `${Math.floor(whole / 3600)}:${two((whole % 3600) / 60)}:${two(whole % 60)}`;
}
