import { IS_NIGHTLY } from './nightly.ts'

/**
 * What a machine with much other work may add to any time. By day, bounds with it tell "in time" from "never"; the nightly run has
 * a machine to itself and is strict.
 */
export const SLACK_MS = IS_NIGHTLY ? 1500 : 15_000
