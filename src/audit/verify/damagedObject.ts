import { LineError, linesOf } from '../../archive/archivedLine.ts'
import { salvage } from '../../archive/gunzip.ts'

export interface EventPosition {
  readonly session: string
  readonly seq: number
}

export interface Bounds {
  readonly first: EventPosition | undefined
  /** The last event before the damage. */
  readonly last: EventPosition | undefined
  /** Whether everything could be read. */
  readonly isWhole: boolean
}

/** Finds the first and the last event that can be read of a damaged object. */
export async function boundsOf(body: Buffer): Promise<Bounds> {
  const { text, isWhole } = await salvage(body)
  let [first, last]: (EventPosition | undefined)[] = []
  try {
    for (const line of linesOf(text)) {
      last = { session: line.text(line.sessionId) as string, seq: line.seq }
      first ??= last
    }
  } catch (error) {
    if (error instanceof LineError) return { first, last, isWhole: false }
    throw error
  }
  return { first, last, isWhole }
}
