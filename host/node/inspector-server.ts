/**
 * The live view: shows this process's engine to a browser on the same machine. On loopback only,
 * for reading only, and for whoever has its address: that carries a token which is good once and
 * is exchanged for a cookie.
 */
import { timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Snapshots } from './inspector-frames.ts';
import { indexPage, PAGE_HEADERS, pageFile } from './inspector-page.ts';

export interface InspectorOptions {
  /** Port on loopback; 0 takes any that is free. @default 0 */
  readonly port?: number;
  /** ms from one snapshot to the next, at least 20. @default 100 */
  readonly intervalMs?: number;
}

/** What a live view has cost the thread of the engine. */
export interface InspectorCost {
  readonly snapshots: number;
  /** Taking them and handing them to the operating system. */
  readonly milliseconds: number;
  readonly bytes: number;
}

/** A live view that is being served. */
export interface Inspector extends AsyncDisposable {
  /** To be opened in a browser, once: `http://127.0.0.1:PORT/open/TOKEN`. */
  readonly url: string;
  /** What it has cost this thread so far. */
  readonly cost: InspectorCost;
  /** Another address, good once, for another browser. */
  newUrl(): string;
  close(): Promise<void>;
}

/** The engine that is shown. */
export interface Inspected {
  readonly memory: WebAssembly.Memory;
  show(name: string): string;
}

const LOOPBACK = '127.0.0.1';
const INTERVAL_MS = 100;
const INTERVAL_MIN_MS = 20;
const SECRET_BYTES = 24;
const MEMORY_MAX_BYTES = 65536;
/** Each has a copy of the engine's part of the memory. */
const VIEWERS_MAX = 4;

const OK = 200;
const SEE_OTHER = 303;
const BAD_REQUEST = 400;
const FORBIDDEN = 403;
const NOT_FOUND = 404;
const METHOD_NOT_ALLOWED = 405;
const TOO_MANY = 429;

/** Nobody may guess it, so it is not from a seeded generator. */
function secret(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(SECRET_BYTES));
  return Buffer.from(bytes).toString('base64url');
}

function isSame(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}

class InspectorServer implements Inspector {
  readonly #engine: Inspected;
  readonly #intervalMs: number;
  readonly #server: Server;
  readonly #session = secret();
  /** Tokens not used yet. */
  readonly #tokens = new Set<string>();
  /** Streams under way. */
  readonly #viewers = new Set<ServerResponse>();
  #port = 0;
  #cost: InspectorCost = { snapshots: 0, milliseconds: 0, bytes: 0 };
  readonly url: string;

  constructor(engine: Inspected, server: Server, intervalMs: number) {
    this.#engine = engine;
    this.#server = server;
    this.#intervalMs = intervalMs;
    this.#port = (server.address() as AddressInfo).port;
    this.url = this.newUrl();
    server.on('request', (request, response) => this.#answer(request, response));
  }

  get cost(): InspectorCost {
    return this.#cost;
  }

  newUrl(): string {
    const token = secret();
    this.#tokens.add(token);
    return `http://${LOOPBACK}:${this.#port}/open/${token}`;
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    await Promise.all([...this.#viewers].map((viewer) => ended(viewer)));
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #cookie(): string {
    return `pgaio-${this.#port}`; // a cookie is for all ports of a host
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname, searchParams } = new URL(request.url ?? '/', `http://${LOOPBACK}`);
    // Another site's name that leads to loopback is not ours.
    if (request.headers.host !== `${LOOPBACK}:${this.#port}`) {
      refuse(response, FORBIDDEN, 'Not under this name.');
    } else if (request.method !== 'GET') {
      refuse(response, METHOD_NOT_ALLOWED, 'Reading only.');
    } else if (pathname.startsWith('/open/')) {
      this.#open(pathname.slice('/open/'.length), response);
    } else if (!this.#isKnown(request)) {
      refuse(response, FORBIDDEN, 'Open the address that the process gives; it is good once.');
    } else this.#serve(pathname, searchParams, response);
  }

  /** The token for a cookie. */
  #open(token: string, response: ServerResponse): void {
    const known = [...this.#tokens].find((one) => isSame(one, token));
    if (known === undefined) {
      refuse(response, FORBIDDEN, 'This address was used before; ask the process for another.');
      return;
    }
    this.#tokens.delete(known);
    response.writeHead(SEE_OTHER, {
      ...PAGE_HEADERS,
      Location: '/',
      'Set-Cookie': `${this.#cookie}=${this.#session}; HttpOnly; SameSite=Strict; Path=/`,
    });
    response.end();
  }

  #isKnown(request: IncomingMessage): boolean {
    const cookies = (request.headers.cookie ?? '').split(/;\s*/);
    const prefix = `${this.#cookie}=`;
    return cookies.some(
      (one) => one.startsWith(prefix) && isSame(one.slice(prefix.length), this.#session),
    );
  }

  #serve(path: string, query: URLSearchParams, response: ServerResponse): void {
    switch (path) {
      case '/':
        send(response, indexPage(true));
        return;
      case '/about.json':
        send(response, { type: 'application/json', bytes: Buffer.from(this.#about()) });
        return;
      case '/snapshots':
        this.#stream(response);
        return;
      case '/memory':
        this.#memory(query, response);
        return;
      default: {
        const file = pageFile(path.slice(1));
        if (file === undefined) refuse(response, NOT_FOUND, 'There is no such file.');
        else send(response, file);
      }
    }
  }

  #about(): string {
    const { pid, version } = process;
    const method = this.#engine.show('io_method');
    return JSON.stringify({ pid, node: version, method, intervalMs: this.#intervalMs });
  }

  #stream(response: ServerResponse): void {
    if (this.#viewers.size >= VIEWERS_MAX) {
      refuse(response, TOO_MANY, `${VIEWERS_MAX} viewers look already.`);
      return;
    }
    this.#viewers.add(response);
    response.writeHead(OK, { ...PAGE_HEADERS, 'Content-Type': 'application/octet-stream' });
    const snapshots = new Snapshots(this.#engine.memory);
    const send = (): void => {
      // A viewer that is slow gets the next one.
      if (response.writableNeedDrain || response.writableEnded) return;
      const began = performance.now();
      const parts = snapshots.next();
      response.cork();
      for (const part of parts) response.write(part);
      response.uncork();
      const { snapshots: count, milliseconds, bytes } = this.#cost;
      this.#cost = {
        snapshots: count + 1,
        milliseconds: milliseconds + performance.now() - began,
        bytes: bytes + parts.reduce((sum, part) => sum + part.length, 0),
      };
    };
    send();
    const timer = setInterval(send, this.#intervalMs);
    timer.unref();
    response.once('close', () => {
      clearInterval(timer);
      this.#viewers.delete(response);
    });
  }

  /** A piece of the memory behind the engine's part, as it is now. */
  #memory(query: URLSearchParams, response: ServerResponse): void {
    const [from, count] = ['from', 'bytes'].map((name) => Number(query.get(name) ?? Number.NaN));
    const { buffer } = this.#engine.memory;
    const sound =
      Number.isInteger(from) &&
      Number.isInteger(count) &&
      from !== undefined &&
      count !== undefined &&
      from >= 0 &&
      count > 0 &&
      count <= MEMORY_MAX_BYTES &&
      from + count <= buffer.byteLength;
    if (!sound) {
      refuse(response, BAD_REQUEST, `from and bytes, at most ${MEMORY_MAX_BYTES}, in the memory.`);
      return;
    }
    const bytes = Buffer.from(new Uint8Array(buffer, from, count).slice());
    send(response, { type: 'application/octet-stream', bytes });
  }
}

/** Ends a stream in good order: the viewer learns that there is no more. */
function ended(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    response.once('close', resolve);
    response.end(() => resolve());
  });
}

function send(response: ServerResponse, file: { type: string; bytes: Buffer }): void {
  response.writeHead(OK, { ...PAGE_HEADERS, 'Content-Type': file.type });
  response.end(file.bytes);
}

function refuse(response: ServerResponse, status: number, words: string): void {
  response.writeHead(status, { ...PAGE_HEADERS, 'Content-Type': 'text/plain; charset=utf-8' });
  response.end(`${words}\n`);
}

/** Serves the live view of an engine until it is closed. Keeps no process alive. */
export async function serveInspector(
  engine: Inspected,
  { port = 0, intervalMs = INTERVAL_MS }: InspectorOptions,
): Promise<Inspector> {
  indexPage(true); // missing files are told of now, not when somebody looks
  const interval = Math.max(INTERVAL_MIN_MS, intervalMs);
  const server = createServer();
  await listen(server, port);
  server.unref();
  return new InspectorServer(engine, server, interval);
}

/** Loopback and nothing else. */
function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, LOOPBACK, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** Serves the inspector's page with an engine of its own; its address. For the program. */
export async function servePage(port: number): Promise<{ url: string; close(): void }> {
  indexPage(false);
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', `http://${LOOPBACK}`);
    const isHere = request.headers.host === `${LOOPBACK}:${(server.address() as AddressInfo).port}`;
    const file = pathname === '/' ? indexPage(false) : pageFile(pathname.slice(1));
    if (!isHere) refuse(response, FORBIDDEN, 'Not under this name.');
    else if (request.method !== 'GET') refuse(response, METHOD_NOT_ALLOWED, 'Reading only.');
    else if (file === undefined) refuse(response, NOT_FOUND, 'There is no such file.');
    else send(response, file);
  });
  await listen(server, port);
  const { port: taken } = server.address() as AddressInfo;
  return {
    url: `http://${LOOPBACK}:${taken}/`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
