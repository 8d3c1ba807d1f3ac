import { readFileSync, writeFileSync } from 'node:fs'
import type { FileRun } from './messages.ts'

const TABLE = new URL('../durations.json', import.meta.url)
const ROUND_TO_MS = 100

/** Milliseconds by file, of the run that was last written down. A file that is missing counts as the longest. */
export const readDurations = (): Record<string, number> => JSON.parse(readFileSync(TABLE, 'utf8'))

/** Files that were not run keep what they have. */
export function writeDurations(runs: readonly FileRun[]): void {
  const table = { ...readDurations() }
  for (const { file, result } of runs)
    if (result) table[file] = Math.max(ROUND_TO_MS, Math.round(result.ms / ROUND_TO_MS) * ROUND_TO_MS)
  const rows = Object.entries(table).sort(([a], [b]) => (a < b ? -1 : 1))
  writeFileSync(TABLE, `${JSON.stringify(Object.fromEntries(rows), null, 2)}\n`)
}
