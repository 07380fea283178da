/** Of node:path, what the suites use. */
export const join = (...parts: readonly string[]): string => parts.join('/');
export const dirname = (path: string): string => path.slice(0, path.lastIndexOf('/'));
