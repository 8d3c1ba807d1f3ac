import type { RenderedEvent, Seq } from '../protocol/event.ts'

/** What reading a log needs of cold storage; tiering/cold/coldReader.ts is it. */
export interface ColdTier {
  /** The last seq of the session's cold part, which is a prefix of its log; 0 when all of it is hot. */
  coldUntil(sid: string): Promise<Seq>
  /**
   * The events of the slice that holds `seq`, all of them, in order; undefined when that event is not cold. Rejects
   * when the slice cannot be read now.
   */
  sliceAt(sid: string, seq: Seq): Promise<readonly RenderedEvent[] | undefined>
  /** Reads the slice that holds `seq` ahead of a reader that is about to want it. */
  prefetch(sid: string, seq: Seq): void
}
