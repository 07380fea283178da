/** Vectored transfers as WASI has them, over something that moves one range at a time. */

/** The iovecs at `iovs`, as views. */
export function iovecViews(memory: WebAssembly.Memory, iovs: number, count: number): Uint8Array[] {
  const view = new DataView(memory.buffer);
  return Array.from({ length: count }, (_, i) => {
    const at = view.getUint32(iovs + 8 * i, true);
    return new Uint8Array(memory.buffer, at, view.getUint32(iovs + 8 * i + 4, true));
  });
}

/** Spreads `bytes` over the views, as far as they go. */
export function scatter(views: readonly Uint8Array[], bytes: Uint8Array): void {
  let from = 0;
  for (const view of views) {
    view.set(bytes.subarray(from, from + view.length));
    from += view.length;
    if (from >= bytes.length) return;
  }
}

export function lengthOf(views: readonly Uint8Array[]): number {
  return views.reduce((sum, { length }) => sum + length, 0);
}
