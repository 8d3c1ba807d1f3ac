/**
 * What can be wrong with a session's log, by its first wrong event:
 * - `missing`: there is no event of that seq
 * - `changed`: its content does not match its content_digest, or is gone without an erasure
 * - `broken`: its hash does not follow from the one before: the envelope was edited, events swapped, inserted or
 * removed
 * - `duplicate`: the log has it twice
 * - `head`: the session's head does not match the last event
 * - `object_missing`, `object_changed`: the object is gone, or does not match the manifest or its name
 * - `checkpoint`: a hash that was kept elsewhere differs
 */
export type Reason =
  | 'missing'
  | 'changed'
  | 'broken'
  | 'duplicate'
  | 'head'
  | 'object_missing'
  | 'object_changed'
  | 'checkpoint'

/** What is wrong with a session's log, by its first wrong event. */
export interface Problem {
  /** The seq of the first wrong event; 0 when the session has none. */
  readonly seq: number
  readonly reason: Reason
  /** What was found, and where, as a sentence. */
  readonly detail: string
}
