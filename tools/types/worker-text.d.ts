/** Script of an I/O worker in a browser, bundled: tools/browser.mjs puts it in. */
declare module 'worker-text' {
  const text: string;
  export default text;
}
