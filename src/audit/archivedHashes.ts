import { linesOf } from '../archive/archivedLine.ts'
import { wholeLines } from '../archive/gunzip.ts'

export interface ArchivedHash {
  readonly session: string
  readonly seq: number
  /** Lower-case hex. */
  readonly hash: string
}

/**
 * The events of an object, or of a slice of one, with their hashes. Ends where the object is damaged, which other
 * checks report.
 */
export async function* archivedHashes(object: Buffer): AsyncGenerator<ArchivedHash, void> {
  try {
    for await (const text of wholeLines(object))
      for (const line of linesOf(text))
        yield { session: line.text(line.sessionId) as string, seq: line.seq, hash: line.raw(line.hash) }
  } catch {
    // Events before the damage have been yielded.
  }
}
