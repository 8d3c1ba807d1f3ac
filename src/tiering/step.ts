/**
 * The points between the steps of a move, and after the steps of an erasure. Tests stop a process at each; nothing
 * else listens.
 */
export type Step =
  | 'closed'
  | 'stored'
  | 'verified'
  | 'recorded'
  | 'copied'
  | 'kept'
  | 'switched'
  | 'detached'
  | 'dropped'
  | 'emptied'
  | 'rewritten'
  | 'replaced'
  | 'deleted'
  | 'swept'
  | 'erased'

/** The job waits for the returned promise. */
export type Probe = (step: Step) => unknown
