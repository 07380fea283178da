/** esbuild's loader `binary`: importing a .wasm file gives its bytes, embedded in the bundle. */
declare module '*.wasm' {
  const bytes: Uint8Array;
  export default bytes;
}
