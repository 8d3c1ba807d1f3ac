import { IS_NIGHTLY } from './nightly.ts'

/**
 * What a machine with much other work may add to any time. By day, a bound with it tells "in time" from "never"; the nightly run
 * has a machine to itself and is strict.
 */
export const SLACK_MS = IS_NIGHTLY ? 1500 : 15_000

/** A bound of time as it is meant at night; by day with the slack of a loaded machine. */
export const bound = (ms: number): number => (IS_NIGHTLY ? ms : ms + SLACK_MS)
