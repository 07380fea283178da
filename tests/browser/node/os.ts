/** Of node:os, what the suites use. */
export const tmpdir = (): string => '/tmp';
