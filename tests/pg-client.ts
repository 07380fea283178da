/** As much of PostgreSQL's protocol as tests need: statements one after the other, one value. */
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';

/** Sends statements to a running server, each when the one before is done. */
export class PgClient {
  readonly #socket: Socket;
  #waiting: ((failure: string | undefined) => void) | undefined;
  #failure: string | undefined;
  #value = '';
  #rest: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', () => this.#waiting?.('the connection failed'));
    socket.on('close', () => this.#waiting?.('the connection was closed'));
  }

  /** By the unix socket in a directory. */
  static async open(directory: string, user: string): Promise<PgClient> {
    const client = new PgClient(connect(join(directory, '.s.PGSQL.5432')));
    const words = Buffer.from(`\0\x03\0\0user\0${user}\0database\0postgres\0\0`, 'latin1');
    await client.#send(words, '');
    return client;
  }

  /** First column of the last row that a statement gives. */
  async value(statement: string): Promise<string> {
    this.#value = '';
    await this.run(statement);
    return this.#value;
  }
  run(statement: string): Promise<void> {
    return this.#send(Buffer.from(`${statement}\0`), 'Q');
  }
  end(): void {
    this.#socket.destroy();
  }

  #send(body: Buffer, kind: string): Promise<void> {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(body.length + 4);
    this.#socket.write(Buffer.concat([Buffer.from(kind), length, body]));
    return new Promise((resolve, reject) => {
      this.#waiting = (failure) => {
        this.#waiting = undefined;
        if (failure === undefined) resolve();
        else reject(new Error(failure));
      };
    });
  }

  #read(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 5) {
      const end = 1 + this.#rest.readUInt32BE(1);
      if (this.#rest.length < end) return;
      const kind = String.fromCharCode(this.#rest[0] ?? 0);
      if (kind === 'D') {
        const length = this.#rest.readInt32BE(7);
        this.#value = this.#rest.subarray(11, 11 + length).toString();
      }
      if (kind === 'E')
        this.#failure = this.#rest.subarray(5, end).toString().replaceAll('\0', ' ');
      this.#rest = this.#rest.subarray(end);
      if (kind !== 'Z') continue; // ready for the next
      this.#waiting?.(this.#failure);
      this.#failure = undefined;
    }
  }
}
