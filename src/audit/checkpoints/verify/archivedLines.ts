import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'

const decompress = promisify(gunzip)

/** First of the members that an archived line has after those of its frame (docs/archive-format.md). */
const AFTER_FRAME = ',"session_id":'

/** The lines of an object, or of a slice of one. Rejects when it is damaged. */
export async function archivedLines(object: Buffer): Promise<string[]> {
  const lines = (await decompress(object)).toString('utf8').split('\n')
  lines.pop()
  return lines
}

/** Which event a line is of, and its hash. Throws when it is not a line of an object. */
export function hashOfLine(line: string): { sessionId: string; seq: number; hash: string } {
  const seq = Number(/^\{"seq":(\d+),/.exec(line)?.[1])
  const { session_id, hash } = JSON.parse(`{${line.slice(line.lastIndexOf(AFTER_FRAME) + 1)}`) as {
    session_id: string
    hash: string
  }
  return { sessionId: session_id, seq, hash }
}
