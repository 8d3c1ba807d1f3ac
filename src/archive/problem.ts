/**
 * What can be wrong with a session's log, by its first wrong event:
 * - `missing`: there is no event of that seq
 * - `changed`: it is not what its content_digest was made of, or its content is gone without an erasure
 * - `broken`: its hash does not follow from the one before: the envelope was edited, events swapped, inserted or removed
 * - `duplicate`: it is there twice
 * - `head`: the session's head is not where, or not what, its last event says
 * - `object_missing`, `object_changed`: the object is gone, or is not the one of the manifest or of its name
 * - `checkpoint`: a hash that was kept elsewhere says otherwise
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

/** What is wrong with the log of a session that the reporter knows, by its first wrong event. */
export interface Problem {
  /** Of the first event that is wrong; 0 when the session has none. */
  readonly seq: number
  readonly reason: Reason
  /** In words: what was found, and where. */
  readonly detail: string
}
