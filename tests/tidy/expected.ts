/** What the project consists of, listed so that a change is a decision and not an accident. */

/** Imports of the core besides its memory: everything it asks of a host. */
export const CORE_IMPORTS = [
  'pgaio.callback (i32 i32 i32 i32 i32) -> i32',
  'pgaio.kaio_finish (i32 i32) -> i32',
  'pgaio.kaio_start (i32 i32) -> i32',
  'pgaio.park (i32 i32 i32) -> i32',
  'pgaio.unpark (i32) -> i32',
  'pgaio.reopen (i32) -> i32',
  'pgaio.segment_close (i32) -> i32',
  'pgaio.segment_open (i32 i32 i32 i32) -> i32',
  'pgaio.segment_size (i32) -> f64',
  'pgaio.segment_truncate (i32 f64) -> i32',
  'pgaio.segment_unlink (i32 i32 i32) -> i32',
  'pgaio.report (i32 i32 i32 i32 i32 i32 i32 i32 i32) -> nothing',
  'pgaio.submit (i32 i32) -> i32',
  'pgaio.uring_enter (i32 i32 i32) -> i32',
  'pgaio.uring_leave (i32) -> i32',
  'pgaio.uring_reap (i32) -> i32',
  'pgaio.uring_setup (i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) -> i32',
  'pgaio.uring_taken (i32) -> i32',
  'pgaio.uring_wait (i32 i32 i32) -> i32',
  'pgaio.wait_one (i32) -> i32',
  'wasi_snapshot_preview1.fd_advise (i32 i64 i64 i32) -> i32',
  'wasi_snapshot_preview1.fd_datasync (i32) -> i32',
  'wasi_snapshot_preview1.fd_pread (i32 i32 i32 i64 i32) -> i32',
  'wasi_snapshot_preview1.fd_pwrite (i32 i32 i32 i64 i32) -> i32',
  'wasi_snapshot_preview1.fd_sync (i32) -> i32',
] as const;

const SHARED_MEMORY = 'env.memory: memory 1 .. 65536, shared';
export interface CoreBuild {
  readonly path: string;
  readonly memory: string;
  /** Undefined for builds that are not published. */
  readonly maxBytes: number | undefined;
}
export const CORE_BUILDS: readonly CoreBuild[] = [
  { path: 'dist/pgaio.wasm', memory: SHARED_MEMORY, maxBytes: 80 << 10 },
  { path: 'dist/pgaio-small.wasm', memory: SHARED_MEMORY, maxBytes: 64 << 10 }, // for pages
  {
    path: 'dist/pgaio-unshared.wasm',
    memory: 'env.memory: memory 1 .. unbounded',
    maxBytes: 64 << 10,
  },
  { path: 'dist/pgaio-debug.wasm', memory: SHARED_MEMORY, maxBytes: undefined },
];

/** Files of the package by name; every one must be there. */
export const PACKAGE_FILES = [
  'LICENSE',
  'README.md',
  'dist/browser/devtools.js',
  'dist/browser/index.js',
  'dist/browser/raw.js',
  'dist/browser/worker.js',
  'dist/cli.cjs',
  'dist/index.js',
  'dist/job.cjs',
  'dist/layout.js',
  'dist/pgaio-small.wasm',
  'dist/pgaio-unshared.wasm',
  'dist/pgaio.wasm',
  'dist/program.cjs',
  'dist/raw.js',
  'dist/verify-job.cjs',
  'package.json',
] as const;
/** Files of the package whose names the build makes up, or that need not be there. */
export const PACKAGE_PATTERNS = [
  /^dist\/shim-linux-(?:x64|arm64)\.node$/, // where there is a compiler
  /^dist\/(?:job|program)-[0-9a-f]{12}-[\w.-]+\.code$/, // of the Node that built it
  /^dist\/(?:chunk-[A-Z0-9]{8}|worker)\.js$/,
  /^dist\/types\/(?:bindings|host(?:\/node|\/browser)?)\/[\w/-]+\.d\.ts$/,
  /^dist\/browser\/(?:chunk-[A-Z0-9]{8}|[a-z-]+)\.js$/,
  /^dist\/inspector\/(?:chunk-[A-Z0-9]{8}|[a-z-]+)\.(?:js|css|html|wasm|wasm\.map)$/,
  /^dist\/(?:browser|inspector)\/licences\.txt$/,
];

export const MAX_BLOB_BYTES = 256 << 10;

/** Endings, and names of files without one. */
export const FILE_TYPES = [
  /\.(?:ts|mjs|json|md|c|h|txt|html|css|svg)$/,
  /^docs\/pictures\/[\w-]+\.png$/,
  /(?:^|\/)(?:LICENSE|\.gitignore|\.npmrc|\.editorconfig)$/,
  /^\.ci\/run$/,
];
export const EXECUTABLES = ['.ci/run'] as const;

/** What is started or imported by name, so that nobody needs to import it. */
export const ENTRY_POINTS = [
  /^assembly\/index\.ts$/,
  /^bindings\/layout\.ts$/,
  /^host\/node\/(?:index|raw|cli|worker|verify-job)\.ts$/,
  /^host\/node\/(?:cli\/program|verify\/job-thread)\.ts$/,
  /^tools\/keep-code\.mjs$/,
  /^tests\/[\w.-]+\.test\.ts$/,
  /^bench\/(?!harness)[\w-]+\.ts$/,
  /^examples\//,
  /^build\.mjs$/,
  /^(?:tests|bench)\/(?:run|guard)\.mjs$/,
  /^tests\/(?:explorer|stress)\/(?:run\.mjs|main\.ts|stress\.ts)$/,
  // Started or loaded by their URL, see tests/run.mjs.
  /^tests\/(?:stress\/)?[\w-]+-(?:thread|child|module)\.ts$/,
  /^tests\/[\w-]+-child\.ts$/,
  // Bundled by name for a browser.
  /^host\/browser\/(?:index|raw|worker|devtools)\.ts$/,
  /^host\/browser\/inspector\/main\.ts$/,
  /^tests\/browser\/(?:page|suites|variants|uvu)\.ts$/,
  /^tests\/browser\/node\/[\w-]+\.ts$/,
  /^tests\/stress\/(?:run\.mjs|stress\.ts|stress-thread\.ts)$/,
];

/**
 * Files that may import each other in circles, with the reason; others may not join them unnoticed.
 * A start or completion goes from aio to method or storage and back, as aio.c calls method_*.c
 * calls aio.c. The compiler orders what is needed at compile time, or refuses.
 */
export const CIRCLES: readonly { readonly reason: string; readonly files: RegExp }[] = [
  { reason: 'one state machine in several files', files: /^assembly\/\w+\// },
];

/** Functions of the core without an assertion. The list may only shrink. */
export const UNASSERTED_LIST = 'tests/fixtures/unasserted.txt';
export const LAYOUT_RECORD = 'tests/fixtures/layout-version.json';
