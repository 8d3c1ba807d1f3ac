import type { FileRun } from './messages.ts'

const SLOWEST = 20

/** Prints the slowest, repeats what must not be lost among thousands of lines, and sums up. Answers whether all is well. */
export function report(runs: readonly FileRun[], elapsedMs: number): boolean {
  printSlowest(runs)
  const failed = runs.filter(({ result }) => result === undefined || result.failed > 0)
  for (const { file, output } of failed) {
    const failing = output.search(/^ +\d+ failing/m)
    console.log(`\nFAILED: npm test -- ${file}`)
    console.log(failing === -1 ? output.slice(-3000) : output.slice(failing))
  }
  for (const { output } of runs)
    for (const [line] of output.matchAll(/^.*NOT TESTED.*$/gm)) console.log(line.trim())
  const sum = (count: 'passed' | 'failed' | 'skipped') =>
    runs.reduce((total, { result }) => total + (result?.[count] ?? 0), 0)
  const unreported = runs.filter(({ result }) => result === undefined).length
  console.log(
    `\n${sum('passed')} passed, ${sum('failed') + unreported} failed, ${sum('skipped')} skipped, ` +
      `${runs.length} files in ${seconds(elapsedMs)}`,
  )
  return failed.length === 0
}

function printSlowest(runs: readonly FileRun[]): void {
  const results = runs.flatMap(({ result }) => result ?? [])
  if (results.length <= SLOWEST) return
  console.log(`\nThe ${SLOWEST} slowest files:`)
  for (const { file, ms } of top(results)) console.log(`${seconds(ms).padStart(8)}  ${file}`)
  const total = results.reduce((sum, { cpuMs }) => sum + cpuMs, 0)
  console.log(
    `\nThe ${SLOWEST} files with the most processor time, of ${seconds(total)}, without that of Postgres:`,
  )
  for (const { file, cpuMs } of top(results.map((result) => ({ ...result, ms: result.cpuMs }))))
    console.log(`${seconds(cpuMs).padStart(8)}  ${file}`)
  console.log(`\nThe ${SLOWEST} slowest tests:`)
  for (const { ms, title } of top(results.flatMap(({ slowest }) => slowest)))
    console.log(`${seconds(ms).padStart(8)}  ${title}`)
}

const top = <T extends { ms: number }>(all: readonly T[]): T[] =>
  [...all].sort((a, b) => b.ms - a.ms).slice(0, SLOWEST)

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`
