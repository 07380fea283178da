/** Handles: what an I/O is, said step by step before it is started. */
import { type Completions, PendingIo } from './completions.ts';
import type { AioFile } from './file.ts';
import type { IoBuffer } from './frames.ts';
import * as layout from './layout.ts';
import { memberOf, STATE_NAMES, type StateName } from './names.ts';
import { u32 } from './numbers.ts';
import type { ResourceOwner } from './owner.ts';
import { FORK_NAMES, type PagesOf } from './target.ts';
import { WaitRef, type WaitRefContext } from './wait-ref.ts';

/** Blocks of a relation fork. */
export interface SmgrTarget extends PagesOf {
  readonly blocks: number;
  /** @default false */
  readonly skipFsync?: boolean;
}
/** A file opened through the engine; with `blocks`, the pages in it. */
export interface FileTarget {
  readonly file: AioFile;
  readonly block?: number;
  readonly blocks?: number;
}

/** Flags of an I/O by PostgreSQL's names, without PGAIO_HF_. */
export type IoFlag = 'SYNCHRONOUS' | 'REFERENCES_LOCAL' | 'BUFFERED';
const FLAGS: Readonly<Record<IoFlag, number>> = {
  SYNCHRONOUS: layout.PGAIO_HF_SYNCHRONOUS,
  REFERENCES_LOCAL: layout.PGAIO_HF_REFERENCES_LOCAL,
  BUFFERED: layout.PGAIO_HF_BUFFERED,
};

/** What handles share: the places in this backend's memory that arguments travel in. */
export interface HandleContext extends WaitRefContext {
  readonly completions: Completions;
  readonly dataAt: number;
}

/**
 * A handle taken by `aio.acquire()`, of which a backend has one at a time. It is used up by
 * one of the `start` methods; disposing one that was not started gives it back. After either,
 * its methods throw PGAIO_NOT_HANDED_OUT.
 */
export class IoHandle implements Disposable {
  readonly #context: HandleContext;
  readonly #at: number;
  readonly #slot: number;
  readonly #owner: ResourceOwner | undefined;
  /** Of the I/O this handle was taken for; later ones of the same handle are not ours to touch. */
  readonly #generation: number | bigint;
  #verdicts = false;
  #blocks = 0;
  #spent = false;
  #into: PendingIo | undefined;

  /** Use `aio.acquire()`. */
  constructor(context: HandleContext, at: number, slot: number, owner: ResourceOwner | undefined) {
    this.#context = context;
    this.#at = at;
    this.#slot = slot;
    this.#owner = owner;
    const { core } = context;
    this.#generation = core.generationAt(at);
    context.completions.hold(slot, owner);
  }

  get id(): number {
    return this.#context.core.idOf(this.#at);
  }
  get generation(): bigint {
    return BigInt(this.#generation);
  }
  /** State of the handle now, be it of this I/O or of a later one. */
  get state(): StateName {
    const { core } = this.#context;
    return memberOf(STATE_NAMES, core.check(core.exports.pgaio_io_get_state(this.#at)));
  }

  /** What the I/O is performed on. Once per I/O. */
  setTarget(target: SmgrTarget | FileTarget): this {
    const { core } = this.#context;
    const { exports } = core;
    const at = this.#live();
    if ('file' in target) {
      const { block = 0, blocks = 0 } = target;
      core.check(
        exports.pgaio_io_set_target_file(
          at,
          target.file.number,
          u32('block', block),
          u32('blocks', blocks),
        ),
      );
      this.#blocks = blocks;
      return this;
    }
    const { spcOid, dbOid, relNumber } = target.relation;
    const fork = FORK_NAMES.indexOf(target.fork ?? 'main');
    const flags = (target.isTemp === true ? 1 : 0) | (target.skipFsync === true ? 2 : 0);
    const { block, blocks } = target;
    core.check(
      exports.pgaio_io_set_target_smgr(
        at,
        u32('spcOid', spcOid),
        u32('dbOid', dbOid),
        u32('relNumber', relNumber),
        u32('fork', fork),
        u32('block', block),
        u32('blocks', blocks),
        flags,
      ),
    );
    this.#blocks = blocks;
    return this;
  }

  /** Adds a callback by id, with a byte for it; the last one added runs first. At most 4. */
  register(id: number, data = 0): this {
    const { core } = this.#context;
    const at = this.#live();
    core.check(core.exports.pgaio_io_register_callbacks(at, u32('id', id), u32('data', data)));
    if (id === layout.PGAIO_HCB_PAGE_READV) this.#verdicts = true;
    return this;
  }

  /** Data for the callbacks: up to io_max_combine_limit numbers of 64 bits. Once per I/O. */
  setData(values: readonly bigint[]): this {
    const { core, dataAt } = this.#context;
    const at = this.#live();
    const fits = values.slice(0, layout.PG_IOV_MAX);
    fits.forEach((value, i) => {
      core.u64[(dataAt >>> 3) + i] = value;
    });
    core.check(core.exports.pgaio_io_set_handle_data_64(at, dataAt, values.length));
    return this;
  }

  setFlag(flag: IoFlag): this {
    const { core } = this.#context;
    core.check(core.exports.pgaio_io_set_flag(this.#live(), FLAGS[flag]));
    return this;
  }

  /** A reference to this I/O, to keep or to send elsewhere. */
  waitRef(): WaitRef {
    return new WaitRef(this.#context, { index: this.id, generation: this.generation });
  }

  /** For the engine: whoever waited for this handle has `io` in hand already. */
  answerTo(io: PendingIo): this {
    this.#into = io;
    return this;
  }

  /** Starts reading from `offset` (bytes) of `file` into the buffers, in order. */
  startReadv(file: AioFile, buffers: IoBuffer | readonly IoBuffer[], offset: number): PendingIo {
    return this.#start(this.#context.core.exports.pgaio_io_start_readv, file, buffers, offset);
  }

  /** Starts writing the buffers, in order, to `file` from `offset` (bytes) on. */
  startWritev(file: AioFile, buffers: IoBuffer | readonly IoBuffer[], offset: number): PendingIo {
    return this.#start(this.#context.core.exports.pgaio_io_start_writev, file, buffers, offset);
  }

  /** Starts bringing data and metadata of `file` to the device. */
  startFsync(file: AioFile): PendingIo {
    const { exports } = this.#context.core;
    return this.#launch(file, [], (at) => exports.pgaio_io_start_fsync(at, file.fd));
  }
  /** Starts bringing the data of `file` to the device. */
  startFdatasync(file: AioFile): PendingIo {
    const { exports } = this.#context.core;
    return this.#launch(file, [], (at) => exports.pgaio_io_start_fdatasync(at, file.fd));
  }
  /** Starts writing `bytes` from `offset` of `file` back to the device; maybe more, never less. */
  startFlushRange(file: AioFile, offset: number, bytes: number): PendingIo {
    const { exports } = this.#context.core;
    return this.#launch(file, [], (at) =>
      exports.pgaio_io_start_flush_range(at, file.fd, offset, bytes),
    );
  }

  #start(
    call: (ioh: number, fd: number, iovcnt: number, offset: number) => number,
    file: AioFile,
    given: IoBuffer | readonly IoBuffer[],
    offset: number,
  ): PendingIo {
    const buffers = 'address' in given ? [given] : given;
    for (const buffer of buffers) file.requireAligned(buffer, offset);
    return this.#launch(file, buffers, (at) => {
      this.#fillIovecs(at, buffers);
      return call(at, file.fd, buffers.length, offset);
    });
  }

  #launch(file: AioFile, buffers: readonly IoBuffer[], call: (at: number) => number): PendingIo {
    const { core, completions } = this.#context;
    const at = this.#live();
    file.requireOpen();
    if (file.reopenable) core.check(core.exports.pgaio_io_set_file(at, file.number));
    core.check(call(at));
    this.#spent = true;
    completions.letGo(this.#slot);
    const io = this.#into ?? new PendingIo(completions);
    completions.add(io, {
      slot: this.#slot,
      handle: at,
      owner: this.#owner,
      buffers,
      file: file.number,
      generation: this.#generation,
      verdicts: this.#verdicts ? this.#blocks : 0,
    });
    return io;
  }

  #fillIovecs(at: number, buffers: readonly IoBuffer[]): void {
    const { core } = this.#context;
    let iov = core.check(core.exports.pgaio_io_get_iovec(at)) >>> 2;
    const max = core.check(core.exports.pgaio_io_get_iovec_max());
    for (const { address, byteLength } of buffers.slice(0, max)) {
      core.u32[iov++] = address;
      core.u32[iov++] = byteLength;
    }
  }

  /** Gives the handle back unused. */
  release(): void {
    const { core, completions } = this.#context;
    core.check(core.exports.pgaio_io_release(this.#live()));
    this.#spent = true;
    completions.letGo(this.#slot);
    completions.giveSlot(this.#slot);
    completions.poll();
  }

  [Symbol.dispose](): void {
    if (!this.#spent && this.#isOurs()) this.release();
  }

  /** Whether the handle is still handed out for this very I/O; its owner may have been released. */
  #isOurs(): boolean {
    const { core } = this.#context;
    return !core.closed && core.generationAt(this.#at) === this.#generation;
  }

  /** The address, or 0 when this I/O is over: the core then refuses in its own words. */
  #live(): number {
    return !this.#spent && this.#isOurs() ? this.#at : this.#refused();
  }
  #refused(): number {
    throw this.#context.core.usage(layout.E_NOT_HANDED_OUT, this.id, this.state);
  }
}
