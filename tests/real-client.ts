/**
 * Speaks to a running PostgreSQL over its socket: statements one after the other, their rows as
 * text, and what the server said to them, field by field.
 */
import { connect, type Socket } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';

/** An error or a notice, without what says where in the server it comes from. */
export interface ServerSays {
  readonly severity: string;
  readonly sqlstate: string;
  readonly message: string;
  readonly detail: string | undefined;
  readonly hint: string | undefined;
}
export interface Answer {
  readonly rows: readonly (readonly (string | undefined)[])[];
  readonly error: ServerSays | undefined;
  readonly notices: readonly ServerSays[];
}

const PROTOCOL = 196608;

export class RealClient {
  readonly #socket: Socket;
  #rest: Buffer = Buffer.alloc(0);
  #rows: (string | undefined)[][] = [];
  #notices: ServerSays[] = [];
  #error: ServerSays | undefined;
  #done: ((answer: Answer | Error) => void) | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', (error) => this.#done?.(error));
    socket.on('close', () => this.#done?.(new Error('the connection was closed')));
  }

  static async open(socketDirectory: string): Promise<RealClient> {
    const client = new RealClient(connect(join(socketDirectory, '.s.PGSQL.5432')));
    const user = process.getuid?.() === 0 ? 'nobody' : userInfo().username;
    const version = Buffer.alloc(4);
    version.writeUInt32BE(PROTOCOL);
    const words = Buffer.from(`user\0${user}\0database\0postgres\0\0`);
    await client.#send(Buffer.concat([version, words]), '');
    return client;
  }
  /** Runs statements; an error is part of the answer. */
  ask(statement: string): Promise<Answer> {
    return this.#send(Buffer.from(`${statement}\0`), 'Q');
  }
  /** The rows of statements that succeed. */
  async rows(statement: string): Promise<Answer['rows']> {
    const { rows, error } = await this.ask(statement);
    if (error !== undefined) throw new Error(`${statement}: ${error.message}`);
    return rows;
  }
  /** The first column of the first row. */
  async value(statement: string): Promise<string> {
    const [[first = ''] = []] = await this.rows(statement);
    return first;
  }
  end(): void {
    this.#socket.destroy();
  }

  #send(body: Buffer, kind: string): Promise<Answer> {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(body.length + 4);
    this.#socket.write(Buffer.concat([Buffer.from(kind), length, body]));
    return new Promise((resolve, reject) => {
      this.#done = (answer) => {
        this.#done = undefined;
        if (answer instanceof Error) reject(answer);
        else resolve(answer);
      };
    });
  }

  #read(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 5) {
      const end = 1 + this.#rest.readUInt32BE(1);
      if (this.#rest.length < end) return;
      const kind = String.fromCharCode(this.#rest[0] ?? 0);
      const body = this.#rest.subarray(5, end);
      this.#rest = this.#rest.subarray(end);
      if (kind === 'E') this.#error ??= saysOf(body);
      else if (kind === 'N') this.#notices.push(saysOf(body));
      else if (kind === 'D') this.#rows.push(rowOf(body));
      else if (kind === 'Z') this.#finish();
    }
  }
  #finish(): void {
    const answer = { rows: this.#rows, error: this.#error, notices: this.#notices };
    this.#rows = [];
    this.#notices = [];
    this.#error = undefined;
    this.#done?.(answer);
  }
}

/** Fields of a letter and a text each. */
function saysOf(body: Buffer): ServerSays {
  const fields = new Map(
    body
      .toString()
      .split('\0')
      .map((field) => [field.slice(0, 1), field.slice(1)]),
  );
  return {
    severity: fields.get('V') ?? '',
    sqlstate: fields.get('C') ?? '',
    message: fields.get('M') ?? '',
    detail: fields.get('D'),
    hint: fields.get('H'),
  };
}

function rowOf(body: Buffer): (string | undefined)[] {
  const row: (string | undefined)[] = [];
  let at = 2;
  for (let column = 0; column < body.readUInt16BE(0); column++) {
    const bytes = body.readInt32BE(at);
    at += 4;
    row.push(bytes < 0 ? undefined : body.toString('utf8', at, at + bytes));
    at += Math.max(bytes, 0);
  }
  return row;
}
