import type { Problem } from '../archive/problem.ts'

/** What is wrong with the log of one session. */
export interface Finding extends Problem {
  readonly tenant: string
  readonly session: string
}
