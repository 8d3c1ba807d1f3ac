import { promisify } from 'node:util'
import { constants, gunzip, gzip } from 'node:zlib'
import type { RenderedEvent } from '../protocol/event.ts'
import { renderedEventOfLine } from './line.ts'

const compress = promisify(gzip)
const decompress = promisify(gunzip)

/**
 * The gzip options. Digests, which do not compress, are a good part of a line: level 6 takes a quarter longer and
 * saves 1 %. The strategy saves 7 %, because it ignores the short repeats that hexadecimal digits have by chance.
 */
const GZIP = { level: 4, strategy: constants.Z_FILTERED }
/**
 * Large enough for a slice in one piece or two. With Node's own 16 KiB, each of many pieces would be a round trip to
 * a thread.
 */
const GZIP_CHUNK_BYTES = 128 * 1024
const GUNZIP_CHUNK_BYTES = 512 * 1024

const LINE_FEED = 0x0a

/** Compresses a slice's lines into a gzip member of their own. */
export function packSlice(lines: string | Buffer): Promise<Buffer> {
  return compress(lines, { ...GZIP, chunkSize: GZIP_CHUNK_BYTES })
}

/** The rendered events of a slice with `firstSeq` to `lastSeq`. Rejects when the slice holds anything else. */
export async function unpackSlice(
  member: Buffer,
  firstSeq: number,
  lastSeq: number,
): Promise<RenderedEvent[]> {
  return (await linesOfSlice(member, firstSeq, lastSeq)).map((line, i) =>
    renderedEventOfLine(line, firstSeq + i),
  )
}

/** The lines of a slice, without their line feeds. */
export async function linesOfSlice(member: Buffer, firstSeq: number, lastSeq: number): Promise<string[]> {
  const lines = (await openSlice(member)).toString('utf8').split('\n')
  if (lines.pop() !== '' || lines.length !== lastSeq - firstSeq + 1)
    throw new Error(`the slice of events ${firstSeq} to ${lastSeq} has ${lines.length} lines`)
  return lines
}

/** Rejects when a slice does not open, or has a different number of lines. */
export async function checkSlice(member: Buffer, firstSeq: number, lastSeq: number): Promise<void> {
  const text = await openSlice(member)
  let lines = 0
  for (let at = text.indexOf(LINE_FEED); at !== -1; at = text.indexOf(LINE_FEED, at + 1)) lines += 1
  if (lines !== lastSeq - firstSeq + 1 || text.at(-1) !== LINE_FEED)
    throw new Error(`the slice of events ${firstSeq} to ${lastSeq} has ${lines} lines`)
}

/** The text of a slice. Rejects when it is not a gzip member. */
export const openSlice = (member: Buffer): Promise<Buffer> =>
  decompress(member, { chunkSize: GUNZIP_CHUNK_BYTES })
