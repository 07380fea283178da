/** Of Node's io_uring, what the suites name: a browser has none. */
export function uringHost(): never {
  throw new RangeError('a browser has no rings of the kernel');
}
