/** Reads one page of a relation's file, and verifies it as the engine does. */
import { PGAIO_HCB_MD_READV, PGAIO_HCB_PAGE_READV } from '../../../bindings/layout.ts';
import { Aio, type PageVerdict } from '../index.ts';

/** What the place of the file tells: sizes from pg_control, the segment from its name. */
export interface Geometry {
  readonly blockSize: number;
  readonly segmentBlocks: number;
  readonly segment: number;
  readonly checksums: boolean;
  /** Whether it was found out, or is what most clusters have. */
  readonly known: boolean;
}

/** The fewest there can be. */
const FRAMES = 16;
/** In whose name the page is read: it appears in no message. */
const RELATION = { spcOid: 1663, dbOid: 1, relNumber: 1 };

/**
 * The bytes are a copy. `verdict`: undefined if the block is not there or could not be read;
 * `blocks`: whole ones of the file.
 * @throws AioIoError when the file cannot be opened
 */
export async function readOnePage(
  path: string,
  blockInFile: number,
  { blockSize, segmentBlocks, segment, checksums }: Geometry,
): Promise<{ bytes: Uint8Array; verdict: PageVerdict | undefined; blocks: number }> {
  await using aio = await Aio.create({
    ioMethod: 'sync',
    provider: 'direct',
    blockSize,
    dataChecksums: checksums,
    sharedBuffers: FRAMES,
    ioFrames: FRAMES,
    ioMaxConcurrency: 1,
    maxBackends: 1,
    traceSize: FRAMES,
    onReport: () => undefined, // the verdict says the same
  });
  using file = aio.open(path);
  const blocks = Math.floor(file.size() / blockSize);
  if (blockInFile >= blocks) return { bytes: new Uint8Array(0), verdict: undefined, blocks };
  using frames = aio.frames(1);
  const io = aio
    .acquire()
    .setTarget({ relation: RELATION, block: segment * segmentBlocks + blockInFile, blocks: 1 })
    .register(PGAIO_HCB_PAGE_READV)
    .register(PGAIO_HCB_MD_READV)
    .startReadv(file, frames, blockInFile * blockSize);
  const result = await io.then(null, () => io.result);
  const verdict = result?.verdicts.find(({ notRead }) => !notRead);
  return { bytes: frames.bytes.slice(), verdict, blocks };
}
