/**
 * Pages by their parts: header, line pointers, items, also of pages that are nonsense; and against
 * what a real server's pageinspect says of the same pages.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Arena } from '../bindings/arena.ts';
import { PageView } from '../bindings/page-view.ts';
import { thrownBy } from './aio-fixture.ts';
import { makeCluster18, skipped } from './real-postgres.ts';

const BLOCK = 8192;
const STATES = ['unused', 'normal', 'redirect', 'dead'];

interface Item {
  readonly offset: number;
  readonly state: number;
  readonly length: number;
}

/** A page with these line pointers; lower, upper and special as given. */
function pageOf(items: readonly Item[], upper = 8000, special = BLOCK): Uint8Array {
  const bytes = new Uint8Array(BLOCK);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x1a, true);
  view.setUint32(4, 0x2b3c4d, true);
  view.setUint16(8, 0xbeef, true);
  view.setUint16(10, 5, true);
  view.setUint16(12, 24 + 4 * items.length, true);
  view.setUint16(14, upper, true);
  view.setUint16(16, special, true);
  view.setUint16(18, 0x2004, true);
  view.setUint32(20, 777, true);
  items.forEach(({ offset, state, length }, i) => {
    const word = (offset | (state << 15) | (length << 17)) >>> 0;
    view.setUint32(24 + 4 * i, word, true);
  });
  return bytes;
}

const test = suite('a page view');

test('decodes the header', () => {
  const page = new PageView(pageOf([{ offset: 8100, state: 1, length: 40 }], 8100, 8176));
  assert.is(page.lsn, 0x1a002b3c4dn);
  assert.is(page.lsnText, '1A/2B3C4D');
  assert.is(page.checksum, 0xbeef);
  assert.is(page.flags, 5);
  assert.equal([page.hasFreeLines, page.isFull, page.isAllVisible], [true, false, true]);
  assert.equal([page.lower, page.upper, page.special], [28, 8100, 8176]);
  assert.equal([page.pageSize, page.layoutVersion, page.pruneXid], [8192, 4, 777]);
  assert.equal([page.isNew, page.isEmpty, page.freeBytes], [false, false, 8100 - 28 - 4]);
  assert.is(page.specialBytes.length, 16);
});

test('decodes line pointers of every kind', () => {
  const items = [
    { offset: 8100, state: 1, length: 92 },
    { offset: 3, state: 2, length: 0 },
    { offset: 0, state: 0, length: 0 },
    { offset: 0, state: 3, length: 0 },
    { offset: 0x7fff, state: 3, length: 0x7fff },
  ];
  const page = new PageView(pageOf(items));
  assert.is(page.itemCount, 5);
  assert.equal(
    [...page.items()],
    items.map(({ offset, state, length }, i) => {
      return { number: i + 1, state: STATES[state], offset, length };
    }),
  );
  const bytes = page.itemBytes(1);
  assert.equal([bytes?.byteOffset, bytes?.length], [8100, 92]);
  assert.equal(
    [2, 3, 4].map((number) => page.itemBytes(number)),
    [undefined, undefined, undefined],
  );
});

test('follows nothing out of the page', () => {
  const page = new PageView(
    pageOf([
      { offset: 8100, state: 1, length: 93 },
      { offset: 23, state: 1, length: 1 },
    ]),
  );
  assert.is(
    thrownBy(() => page.itemBytes(1)).message,
    'line pointer 1 points to 93 bytes from 8100 of a page of 8192',
  );
  assert.instance(
    thrownBy(() => page.itemBytes(2)),
    RangeError,
  );
  for (const number of [0, 3, 1.5, -1, Number.NaN]) {
    assert.is(thrownBy(() => page.item(number)).message, `line pointer ${number} of 2`);
  }
});

test('makes sense of a new page, and of one that is nothing but ones', () => {
  const empty = new PageView(new Uint8Array(BLOCK));
  assert.equal([empty.isNew, empty.isEmpty, empty.itemCount, empty.freeBytes], [true, true, 0, 0]);
  assert.equal([...empty.items()], []);
  const ones = new PageView(new Uint8Array(BLOCK).fill(0xff));
  assert.is(ones.itemCount, (BLOCK - 24) / 4, 'as many as the page has room for');
  assert.is(ones.specialBytes.length, 0);
  assert.instance(
    thrownBy(() => ones.itemBytes(1)),
    RangeError,
  );
  assert.is(
    thrownBy(() => new PageView(new Uint8Array(23))).message,
    'a page of 23 bytes has no header',
  );
});

test('says what pageinspect says of the pages of a real cluster', () => {
  const cluster = makeCluster18({
    sql: [
      'CREATE EXTENSION pageinspect',
      "CREATE TABLE t AS SELECT g AS id, repeat('x', g % 90) AS note " +
        'FROM generate_series(1, 2000) g',
      'DELETE FROM t WHERE id % 7 = 0',
      'VACUUM t',
      "UPDATE t SET note = 'y' WHERE id % 11 = 0",
      'CREATE INDEX t_id ON t (id)',
      'CHECKPOINT',
    ],
  });
  if ('reason' in cluster) return skipped(cluster.reason);
  try {
    for (const [name, pages] of [
      ['t', 8],
      ['t_id', 5],
    ] as const) {
      const [{ path = '' } = {}] = cluster.sql(`SELECT pg_relation_filepath('${name}') AS path`);
      const file = readFileSync(join(cluster.directory, path));
      for (let block = 0; block < pages; block++) {
        const page = new PageView(file.subarray(block * BLOCK, (block + 1) * BLOCK));
        const raw = `get_raw_page('${name}', ${block})`;
        const [header = {}] = cluster.sql(`SELECT * FROM page_header(${raw})`);
        assert.equal(
          [page.lsnText, page.flags, page.lower, page.upper, page.special, page.pageSize],
          [
            header.lsn?.replace(/\/0+(?=.)/, '/'),
            ...['flags', 'lower', 'upper', 'special', 'pagesize'].map((column) =>
              Number(header[column]),
            ),
          ],
          `${name} ${block}`,
        );
        assert.is(page.layoutVersion, Number(header.version));
        if (name !== 't') continue;
        const items = cluster.sql(
          `SELECT lp, lp_off, lp_flags, lp_len FROM heap_page_items(${raw}) ORDER BY lp`,
        );
        assert.equal(
          [...page.items()].map(({ number, state, offset, length }) => [
            number,
            offset,
            STATES.indexOf(state),
            length,
          ]),
          items.map(({ lp, lp_off, lp_flags, lp_len }) =>
            [lp, lp_off, lp_flags, lp_len].map(Number),
          ),
          `${name} ${block}`,
        );
      }
    }
  } finally {
    cluster.dispose();
  }
});
test.run();

const arena = suite('an arena');

arena('gives each piece an address of its own, and takes all back in any order', () => {
  const memory = new Arena(1001, 10_000);
  assert.is(memory.largest, 10_000 - 7, 'the first address is aligned');
  const pieces = [100, 8, 4000, 1, 333].map((bytes) => ({ at: memory.take(bytes, 'it'), bytes }));
  pieces.forEach(({ at, bytes }, i) => {
    assert.is(at % 8, 0);
    for (const other of pieces.slice(i + 1)) {
      assert.ok(at + bytes <= other.at || other.at + other.bytes <= at, 'none overlaps another');
    }
  });
  for (const index of [3, 0, 4, 1, 2]) {
    const piece = pieces[index];
    if (piece !== undefined) memory.give(piece.at, piece.bytes);
  }
  assert.is(memory.largest, 10_000 - 7, 'it is one gap again');
});

arena('says what is missing when there is no gap', () => {
  const memory = new Arena(0, 64);
  memory.take(40, 'one');
  const error = thrownBy(() => memory.take(25, 'another'));
  assert.is(error.code, 'PGAIO_LOCAL_MEMORY');
  assert.is(error.message, 'out of local memory: another needs 32 bytes, 24 are left');
  assert.type(memory.take(24, 'what fits'), 'number');
});
arena.run();
