import type { RenderedEvent, Seq } from '../protocol/event.ts'

/** Cold storage as readers of a log use it; tiering/cold/coldReader.ts implements it. */
export interface ColdTier {
  /** The last seq of the session's cold part, which is a prefix of its log; 0 when all of it is hot. */
  coldUntil(sid: string): Promise<Seq>
  /**
   * The events of the slice that holds `seq`, all of them, in order; undefined when that event is not cold. Rejects
   * when the slice cannot be read now.
   */
  sliceAt(sid: string, seq: Seq): Promise<readonly RenderedEvent[] | undefined>
  /** Loads the slice that holds `seq` before a reader asks for it. */
  prefetch(sid: string, seq: Seq): void
}
