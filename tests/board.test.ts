/** host/node/verify/board.ts: pieces in order, each taken once, never more than there is room. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Board, noCounts, type Piece } from '../host/node/verify/board.ts';

const test = suite('verify: the board');

function piece(number: number, more: Partial<Piece> = {}): Piece {
  const relation = { spcOid: 1663, dbOid: 5, relNumber: number, fork: 'main', temp: undefined };
  const rest = { segment: 0, size: 8192, first: 0, blocks: 1, last: true };
  return { relation, ...rest, ...more } as Piece;
}
const numberOf = (taken: Piece | undefined): number | undefined => taken?.relation.relNumber;

test('gives each piece back as it was put', () => {
  const board = Board.for(1, 8);
  const pieces = [
    piece(16384),
    piece(4294967295, { segment: 4000000000, size: 2 ** 40, first: 77, blocks: 4096, last: false }),
    piece(1, { relation: { ...piece(1).relation, fork: 'init', temp: 0 } }),
    piece(2, { relation: { ...piece(2).relation, fork: 'fsm', dbOid: 0, spcOid: 1664 } }),
  ];
  for (const one of pieces) assert.ok(board.put(one));
  assert.equal([board.take(), board.take(), board.take(), board.take()], pieces);
  assert.is(board.take(), undefined);
  assert.ok(board.empty);
});

test('takes no more than there is room for, round and round', () => {
  const board = Board.for(1, 3);
  let next = 1;
  let expected = 1;
  for (let round = 0; round < 10; round++) {
    while (board.put(piece(next))) next++;
    assert.is(next - expected, 3);
    assert.is(numberOf(board.take()), expected++);
    if (round % 2 === 0) assert.is(numberOf(board.take()), expected++);
  }
});

test('is the same board in another thread’s hands', () => {
  const board = Board.for(2, 4);
  const other = new Board(board.memory);
  board.put(piece(7));
  assert.is(numberOf(other.take()), 7);
  assert.is(board.take(), undefined);
  assert.not(other.closed);
  board.close();
  assert.ok(other.closed);
  other.stop();
  assert.ok(board.stopped);
  other.publish(1, { ...noCounts(), blocks: 5, bytesMore: -3 });
  board.publish(0, { ...noCounts(), blocks: 2 });
  board.publish(0, { ...noCounts(), blocks: 4 });
  assert.equal(board.counts(), { ...noCounts(), blocks: 9, bytesMore: -3 });
});

test('wakes who waits for a piece, for the end, and for a stop', async () => {
  for (const wake of [
    (board: Board) => {
      board.put(piece(1));
      board.announce();
    },
    (board: Board) => board.close(),
    (board: Board) => board.stop(),
  ]) {
    const board = Board.for(1, 4);
    const waiting = board.more();
    wake(board);
    await waiting;
  }
  const full = Board.for(1, 4);
  full.put(piece(1));
  await full.more(); // at once
});

test('lets reads through at the rate that is asked for', () => {
  const board = Board.for(1, 1);
  const waits = Array.from({ length: 20 }, () => board.pace(100_000, 1e6)); // a tenth of a second
  assert.ok(waits[0] === 0, `${waits[0]}`);
  const last = waits.at(-1) ?? 0;
  assert.ok(last > 1000 && last <= 1900, `${last} ms`); // 1.9 s, less what was made up for
  assert.equal(
    waits,
    [...waits].sort((a, b) => a - b),
  );
});

test.run();
