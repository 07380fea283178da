/**
 * The files that the core's system calls reach: bytes that can be told, errors and short transfers
 * by chance, and a note of what became of each I/O, so that it can be held against what its issuer
 * was told.
 */
import type { Thread, World } from './world.ts';

export const READ_FD = 10;
export const WRITE_FD = 11;
export const FILE_BYTES = 1 << 16;
/** The one segment of the one relation there is, and how many blocks it has. */
export const REL_FD = 20;
export const REL_BLOCKS = 40;
/** Where a page of it has its number, and how often it was changed. */
export const PAGE_NUMBER_AT = 100;
export const PAGE_COUNTER_AT = 104;
/** What a buffer holds before it is read into. */
export const POISON = 0xee;

// As WASI numbers them.
const WASI_EINTR = 27;
const WASI_EIO = 29;
const WASI_ENOSPC = 51;
// As Linux does.
const ENOENT = 2;
const EINTR = 4;
const EIO = 5;
const EINVAL = 22;
const ENOSPC = 28;
const ENOSYS = 38;
export const ECANCELED = 125;

/** The byte of the file at `offset`. */
export const contentAt = (offset: number) => (offset * 167 + (offset >> 8) * 13 + 1) & 0xff;
/** The byte `index` of what I/O `key` writes. */
export const writtenAt = (key: number, index: number) => (key * 31 + index * 7 + 3) & 0xff;

/** Memory that an I/O moves bytes from or to. */
interface Piece {
  readonly at: number;
  readonly length: number;
}
export interface Transfer {
  readonly handle: number;
  readonly write: boolean;
  readonly fd: number;
  readonly pieces: readonly Piece[];
  readonly offset: number;
}
interface Execution {
  readonly generation: number;
  readonly thread: Thread;
  readonly times: number;
}

export class FakeFiles {
  readonly written = new Uint8Array(FILE_BYTES);
  /** Bytes of the relation. */
  readonly relation: Uint8Array;
  /** One in so many calls fails, is short, is interrupted; 0 never. */
  errors = 0;
  /** Whether the host has what it need not have: several under way, and parking. */
  kernel = false;
  /** Who executes what is in rings. */
  readonly kernelThread: Thread;
  /** Latest execution of each handle. */
  readonly executions: (Execution | undefined)[] = [];
  /** Raw result of each I/O that completed, and how often it was executed, by `keyOf`. */
  readonly outcomes = new Map<number, number>();
  readonly repeated = new Set<number>();
  count = 0;
  readonly #world: World;
  readonly #iovecs: number;
  readonly #sliceBytes: number;
  readonly #frames: number;
  readonly #frameOwners: number;
  readonly #blockSize: number;

  constructor(world: World, kernelThread: Thread) {
    this.#world = world;
    this.kernelThread = kernelThread;
    this.#iovecs = world.ctl('iovecs');
    this.#sliceBytes = world.ctl('io_max_combine_limit') * 8;
    this.#frames = world.ctl('frames');
    this.#frameOwners = world.ctl('frame_owners');
    this.#blockSize = world.ctl('block_size');
    this.relation = new Uint8Array(REL_BLOCKS * this.#blockSize);
    const view = new DataView(this.relation.buffer);
    for (let block = 0; block < REL_BLOCKS; block++) {
      const at = block * this.#blockSize;
      view.setUint16(at + 12, 24, true); // pd_lower
      view.setUint16(at + 14, this.#blockSize, true); // pd_upper
      view.setUint16(at + 16, this.#blockSize, true); // pd_special
      view.setUint32(at + PAGE_NUMBER_AT, block, true);
    }
  }

  keyOf(handle: number, generation: number): number {
    return generation * 4096 + handle;
  }

  #chance(): boolean {
    return this.errors > 0 && this.#world.random.once(this.errors);
  }

  /** fd_pread or fd_pwrite, for the handle whose iovecs these are. */
  transfer(
    thread: Thread,
    write: boolean,
    fd: number,
    iovs: number,
    count: number,
    offset: number,
    to: number,
  ): number {
    const raw = this.#execute(thread, { write, fd, offset, ...this.#iovecsAt(iovs, count) });
    if (raw === -EINTR) return WASI_EINTR;
    if (raw < 0) return raw === -EIO ? WASI_EIO : WASI_ENOSPC;
    this.#world.view.setUint32(to, raw, true);
    return 0;
  }

  /** Whose iovecs these are, and where they point. */
  #iovecsAt(iovs: number, count: number): Pick<Transfer, 'handle' | 'pieces'> {
    const { view } = this.#world;
    const handle = (iovs - this.#iovecs) / this.#sliceBytes;
    const pieces = Array.from({ length: count }, (_, i) => ({
      at: view.getUint32(iovs + 8 * i, true),
      length: view.getUint32(iovs + 8 * i + 4, true),
    }));
    return { handle, pieces };
  }

  /** Bytes, or -errno: a request in a ring. */
  byKernel(transfer: Transfer): number {
    const raw = this.#execute(this.kernelThread, transfer);
    return raw === -EINTR ? this.byKernel(transfer) : raw;
  }

  /** Bytes, or -errno. */
  #execute(thread: Thread, transfer: Transfer): number {
    const { handle, write, fd } = transfer;
    const world = this.#world;
    const generation = world.invariants.startExecution(thread, handle);
    const before = this.executions[handle];
    const again = before?.generation === generation;
    if (again && before.thread.status !== 'dead' && before.thread !== thread) {
      world.fail(
        `${thread.name} executes ${handle} generation ${generation} after ${before.thread.name}`,
      );
    }
    if (again) this.repeated.add(this.keyOf(handle, generation));
    this.executions[handle] = { generation, thread, times: again ? before.times + 1 : 1 };
    const file = write ? WRITE_FD : READ_FD;
    if (fd !== file && fd !== REL_FD) world.fail(`descriptor ${fd} for handle ${handle}`);
    this.count++;
    if (this.#chance()) return -EINTR;
    const raw = this.#chance()
      ? -(write ? ENOSPC : EIO)
      : fd === REL_FD
        ? this.#movePages(transfer)
        : this.#move(generation, transfer);
    thread.ended.set(handle, { generation, raw });
    world.note(
      () =>
        `${thread.name} ${write ? 'writes' : 'reads'} ${raw} bytes ` +
        `for ${handle} generation ${generation}`,
    );
    return raw;
  }

  // Several under way at once.

  /** pgaio.kaio_start: some run at once, the others later, a few are not taken. */
  start(thread: Thread, ios: number, places: number): number {
    if (!this.kernel) return -ENOSYS;
    const { view, random, layout } = this.#world;
    const field = (at: number, name: string) => at + layout.at(`PgAioKernelIo.${name}`);
    let count = 0;
    for (let place = 0; places >>> place !== 0; place++) {
      if (((places >>> place) & 1) === 0) continue;
      if (this.errors > 0 && random.once(this.errors)) return count === 0 ? -EINVAL : count;
      const at = ios + place * layout.number('KAIO_IO_BYTES');
      const transfer = {
        write: view.getUint16(field(at, 'writes'), true) === 1,
        fd: view.getInt32(field(at, 'fd'), true),
        ...this.#iovecsAt(
          view.getUint32(field(at, 'iovecs'), true),
          view.getUint16(field(at, 'iov_length'), true),
        ),
        offset: Number(view.getBigUint64(field(at, 'offset'), true)),
      };
      if (thread.underWay.has(place)) this.#world.fail(`${thread.name} uses place ${place} twice`);
      const raw = random.once(3) ? this.#execute(thread, transfer) : undefined;
      thread.underWay.set(place, { transfer, raw });
      count++;
    }
    return count;
  }

  /** pgaio.kaio_finish: one of them at least. */
  finish(thread: Thread, events: number, most: number): number {
    const { view, random } = this.#world;
    if (thread.underWay.size === 0) this.#world.fail(`${thread.name} waits for nothing`);
    let count = 0;
    for (const [place, { transfer, raw }] of [...thread.underWay]) {
      const isLast = count === 0 && thread.underWay.size === 1;
      if (count >= most || !(isLast || random.once(2))) continue;
      thread.underWay.delete(place);
      view.setUint32(events + 8 * count, place, true);
      view.setInt32(events + 8 * count + 4, raw ?? this.#execute(thread, transfer), true);
      count++;
    }
    return count > 0 ? count : this.finish(thread, events, most);
  }

  /** Of what a thread that ends has under way some still happens. */
  drain(thread: Thread): void {
    for (const { transfer, raw } of thread.underWay.values()) {
      if (raw === undefined && this.#world.random.once(2)) this.#execute(thread, transfer);
    }
    thread.underWay.clear();
  }

  #move(generation: number, { handle, write, pieces, offset }: Transfer): number {
    const { bytes } = this.#world;
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const most = this.#chance() ? this.#world.random.below(length + 1) : length;
    const key = this.keyOf(handle, generation);
    let moved = 0;
    for (const { at, length: size } of pieces) {
      this.#checkOwner(handle, at);
      for (let to = at; to < at + size && moved < most; to++, moved++) {
        if (!write) bytes[to] = contentAt(offset + moved);
        else {
          if (bytes[to] !== writtenAt(key, moved))
            this.#world.fail(`handle ${handle} writes what is not its own`);
          this.written[offset + moved] = bytes[to] ?? 0;
        }
      }
    }
    return moved;
  }

  /** Blocks of the relation, all of them or the first few. */
  #movePages({ write, pieces, offset }: Transfer): number {
    const { bytes } = this.#world;
    let at = offset;
    const end = this.#chance() ? offset + this.#blockSize : Number.POSITIVE_INFINITY;
    for (const piece of pieces) {
      const from = piece.at;
      const length = Math.min(piece.length, end - at);
      if (write) this.relation.set(bytes.subarray(from, from + length), at);
      else bytes.set(this.relation.subarray(at, at + length), from);
      at += length;
    }
    return at - offset;
  }

  /** An I/O may touch frames of its issuer only, for as long as it is under way. */
  #checkOwner(handle: number, at: number): void {
    const { view, invariants } = this.#world;
    const frame = Math.floor((at - this.#frames) / this.#blockSize);
    const owner = view.getUint16(this.#frameOwners + 2 * frame, true) - 1;
    if (owner !== invariants.ownerOf(handle)) {
      this.#world.fail(`handle ${handle} touches frame ${frame}, which is ${owner}'s by now`);
    }
  }

  /** fd_sync, fd_datasync. */
  sync(thread: Thread): number {
    this.count++;
    void thread;
    return 0;
  }

  /** pgaio.reopen: the same descriptor as the issuer's, or none. */
  reopen(thread: Thread, handle: number): number {
    const { layout, view, invariants } = this.#world;
    if (!this.#chance())
      return view.getInt32(invariants.handleAt(handle) + layout.at('PgAioHandle.fd'), true);
    const generation = invariants.startExecution(thread, handle);
    thread.ended.set(handle, { generation, raw: -ENOENT });
    return -ENOENT;
  }
}
