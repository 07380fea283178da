/** Of node:path, what the suites use. */
export const join = (...parts: readonly string[]): string => parts.join('/');
