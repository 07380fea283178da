/** What browsers have and TypeScript's types of a page lack: they belong to workers. */
declare class FileReaderSync {
  readAsArrayBuffer(blob: Blob): ArrayBuffer;
}
/** In a worker it takes the message alone. */
declare function postMessage(message: unknown): void;
