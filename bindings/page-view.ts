/**
 * A page by its parts: header and line pointers (bufpage.h, itemid.h). It decodes what is there and
 * judges nothing; what points outside the page is an error when it is followed.
 */

/** Bytes of a page's header; line pointers follow. */
export const PAGE_HEADER_BYTES = 24;
const ITEM_ID_BYTES = 4;

/** What a line pointer says of itself: lp_flags. */
export const ITEM_STATES = ['unused', 'normal', 'redirect', 'dead'] as const;
export type ItemState = (typeof ITEM_STATES)[number];

/** A line pointer. */
export interface ItemId {
  /** Counted from 1 (OffsetNumber). */
  readonly number: number;
  readonly state: ItemState;
  /** Where the item begins in the page; for `redirect` the number of the line pointer meant. */
  readonly offset: number;
  /** Bytes of the item, 0 without storage. */
  readonly length: number;
}

/** Bits of pd_flags. */
export const PAGE_FLAGS = { hasFreeLines: 1, full: 2, allVisible: 4 } as const;

/** Reads a page in place; nothing is copied, so it shows what the bytes are at the moment. */
export class PageView {
  /** The whole page. */
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    if (bytes.length < PAGE_HEADER_BYTES) {
      throw new RangeError(`a page of ${bytes.length} bytes has no header`);
    }
    this.bytes = bytes;
  }

  #u16(at: number): number {
    return (this.bytes[at] ?? 0) | ((this.bytes[at + 1] ?? 0) << 8);
  }
  #u32(at: number): number {
    return (this.#u16(at) | (this.#u16(at + 2) << 16)) >>> 0;
  }

  /** Position in the log of the last change (pd_lsn). */
  get lsn(): bigint {
    return (BigInt(this.#u32(0)) << 32n) | BigInt(this.#u32(4));
  }
  /** The same as PostgreSQL prints it: `0/1A2B3C4D`. */
  get lsnText(): string {
    return [0, 4].map((at) => this.#u32(at).toString(16).toUpperCase()).join('/');
  }
  get checksum(): number {
    return this.#u16(8);
  }
  /** pd_flags, see PAGE_FLAGS. */
  get flags(): number {
    return this.#u16(10);
  }
  get hasFreeLines(): boolean {
    return (this.flags & PAGE_FLAGS.hasFreeLines) !== 0;
  }
  get isFull(): boolean {
    return (this.flags & PAGE_FLAGS.full) !== 0;
  }
  get isAllVisible(): boolean {
    return (this.flags & PAGE_FLAGS.allVisible) !== 0;
  }
  /** End of the line pointers. */
  get lower(): number {
    return this.#u16(12);
  }
  /** Beginning of the items. */
  get upper(): number {
    return this.#u16(14);
  }
  /** Beginning of the special space, which an index keeps for itself. */
  get special(): number {
    return this.#u16(16);
  }
  get pageSize(): number {
    return this.#u16(18) & 0xff00;
  }
  get layoutVersion(): number {
    return this.#u16(18) & 0xff;
  }
  /** Oldest transaction that may have left something to prune, 0 for none. */
  get pruneXid(): number {
    return this.#u32(20);
  }

  /** Whether it was added to the file and never written (PageIsNew). */
  get isNew(): boolean {
    return this.upper === 0;
  }
  /** Whether it has no line pointers (PageIsEmpty). */
  get isEmpty(): boolean {
    return this.lower <= PAGE_HEADER_BYTES;
  }
  /** Bytes for another item and its line pointer, those of the pointer left out. */
  get freeBytes(): number {
    return Math.max(0, this.upper - this.lower - ITEM_ID_BYTES);
  }

  /** Line pointers there are: the highest number (PageGetMaxOffsetNumber). */
  get itemCount(): number {
    const end = Math.min(this.lower, this.bytes.length);
    return Math.max(0, (end - PAGE_HEADER_BYTES) >> 2);
  }
  /** Line pointer `number`, from 1. */
  item(number: number): ItemId {
    if (!Number.isInteger(number) || number < 1 || number > this.itemCount) {
      throw new RangeError(`line pointer ${number} of ${this.itemCount}`);
    }
    const word = this.#u32(PAGE_HEADER_BYTES + ITEM_ID_BYTES * (number - 1));
    return {
      number,
      state: ITEM_STATES[(word >>> 15) & 3] ?? 'unused',
      offset: word & 0x7fff,
      length: word >>> 17,
    };
  }
  /** All line pointers, unused ones included. */
  *items(): IterableIterator<ItemId> {
    for (let number = 1; number <= this.itemCount; number++) yield this.item(number);
  }
  /** The bytes line pointer `number` points to; undefined if it has none, as when it redirects. */
  itemBytes(number: number): Uint8Array | undefined {
    const { state, offset, length } = this.item(number);
    if (length === 0 || state === 'redirect') return undefined;
    if (offset < PAGE_HEADER_BYTES || offset + length > this.bytes.length) {
      throw new RangeError(
        `line pointer ${number} points to ${length} bytes from ${offset} of a page of ` +
          `${this.bytes.length}`,
      );
    }
    return this.bytes.subarray(offset, offset + length);
  }
  /** The special space. */
  get specialBytes(): Uint8Array {
    return this.bytes.subarray(Math.min(this.special, this.bytes.length));
  }
}
