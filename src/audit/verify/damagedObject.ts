import { ArchivedLine, LineError } from '../archivedLine.ts'
import { salvage } from '../gunzip.ts'

const LINE_FEED = 0x0a

export interface Place {
  readonly session: string
  readonly seq: number
}

export interface Bounds {
  readonly first: Place | undefined
  /** The last one before what cannot be read. */
  readonly last: Place | undefined
  /** All that there is could be read. */
  readonly isWhole: boolean
}

/** What can still be read of a damaged object. */
export async function boundsOf(body: Buffer): Promise<Bounds> {
  const { text, isWhole } = await salvage(body)
  const line = new ArchivedLine()
  let [first, last]: (Place | undefined)[] = []
  for (let start = 0; start < text.length; ) {
    const end = text.indexOf(LINE_FEED, start)
    try {
      line.read(text, start, end)
    } catch (error) {
      if (error instanceof LineError) return { first, last, isWhole: false }
      throw error
    }
    last = { session: line.text(line.sessionId) as string, seq: line.seq }
    first ??= last
    start = end + 1
  }
  return { first, last, isWhole }
}
