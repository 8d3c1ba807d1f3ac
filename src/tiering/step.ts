/** The points between the steps of a move. Tests stop a process at each; nothing else listens. */
export type Step =
  | 'closed'
  | 'stored'
  | 'verified'
  | 'recorded'
  | 'copied'
  | 'switched'
  | 'detached'
  | 'dropped'

/** The job waits for what it answers. */
export type Probe = (step: Step) => unknown
