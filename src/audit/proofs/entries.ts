import { linesOf } from '../../archive/archivedLine.ts'
import type { ChainVersion } from '../../archive/chain.ts'
import { EventHasher } from '../../archive/eventHasher.ts'
import type { SessionHead } from '../read/scope.ts'
import { unreadable } from '../read/selection.ts'
import type { ReaderOptions } from '../read/sessionLog.ts'
import { SessionReader } from '../read/sessionReader.ts'
import type { Content } from './proof.ts'

/** An event with the parts of its chain. Hashes and salt are lower-case hex. */
export interface Entry {
  readonly seq: number
  readonly insertedAt: string
  readonly frame: string
  /** Null when the content was erased. */
  readonly salt: string | null
  /** As it was sent, with the white space around it. */
  readonly content: Content
  /** eventLink in the form `version` of the chain. */
  readonly link: Buffer
  readonly chainVersion: ChainVersion
  readonly hash: string
}

/**
 * The events of a range, from both tiers, in order. Rejects with an UnreadableError when one of them cannot be read.
 */
export async function* readEntries(
  options: ReaderOptions,
  head: SessionHead,
  from: number,
  to: number,
): AsyncGenerator<Entry, void> {
  const hasher = new EventHasher()
  const range = { ...head, fromSeq: from, toSeq: to }
  for await (const log of new SessionReader(options).read([range]))
    for await (const piece of log.pieces()) {
      if (piece.is === 'fault') throw unreadable(head, piece.problem.seq, piece.problem.detail)
      for (const line of linesOf(piece.text)) {
        if (line.seq < from || line.seq > to) continue // the slice extends beyond the range
        line.restoreLineFeeds()
        yield {
          seq: line.seq,
          insertedAt: line.raw(line.insertedAt),
          frame: line.rendered,
          salt: line.salt.start === -1 ? null : line.raw(line.salt),
          content: {
            payload: line.raw(line.payload),
            metadata: line.raw(line.metadata),
            refs: line.raw(line.refs),
          },
          link: hasher.link(line),
          chainVersion: line.chainVersion,
          hash: line.raw(line.hash),
        }
      }
    }
}
