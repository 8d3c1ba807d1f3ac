import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import { Frame } from '../protocol/event.ts'

const compress = promisify(gzip)
const decompress = promisify(gunzip)

/** Level 6 takes a third longer and saves 3 %: digests, which do not compress, are a good part of a line. */
const GZIP_LEVEL = 4

/** What stands on a line after the frame's own members; docs/archive-format.md describes it. */
export interface ArchivedEvent {
  readonly frame: Frame
  /** Lower-case hex; null once the content was erased. */
  readonly salt: string | null
  readonly contentDigest: string
  readonly hash: string
}

/** First of the members that an archived line has after those of its frame. */
const AFTER_FRAME = ',"session_id":'

/** One line of an object, with its line feed: the frame, with the session's id and the hashes after it. */
export function archiveLine(sessionId: string, event: ArchivedEvent): string {
  const salt = event.salt === null ? 'null' : `"${event.salt}"`
  return (
    `${event.frame.text.slice(0, -1)}${AFTER_FRAME}${JSON.stringify(sessionId)},"salt":${salt}` +
    `,"content_digest":"${event.contentDigest}","hash":"${event.hash}"}\n`
  )
}

/**
 * The frame of a line, byte for byte as it was. Inside JSON strings quotes are escaped, and no member after the frame
 * holds an object, so the last place where the marker stands is the one that archiveLine put there.
 */
export function frameOfLine(line: string, seq: number): Frame {
  const end = line.lastIndexOf(AFTER_FRAME)
  if (end === -1 || !line.startsWith(`{"seq":${seq},`)) throw new Error(`the line of event ${seq} is not one`)
  return new Frame(seq, `${line.slice(0, end)}}`)
}

/** A slice's lines as a gzip member of their own. */
export function packSlice(lines: string): Promise<Buffer> {
  return compress(lines, { level: GZIP_LEVEL })
}

/** The frames of a slice that holds `firstSeq` to `lastSeq`. Rejects when it holds anything else. */
export async function unpackSlice(member: Buffer, firstSeq: number, lastSeq: number): Promise<Frame[]> {
  const lines = (await decompress(member)).toString('utf8').split('\n')
  if (lines.pop() !== '' || lines.length !== lastSeq - firstSeq + 1)
    throw new Error(`the slice of ${firstSeq} to ${lastSeq} has ${lines.length} lines`)
  return lines.map((line, i) => frameOfLine(line, firstSeq + i))
}
