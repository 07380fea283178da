/** Of node:worker_threads, what the suites use: the thread they run in has no other below it. */
export const isMainThread = true;
