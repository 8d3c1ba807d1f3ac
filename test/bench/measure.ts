import { cpuOf } from './cpu.ts'
import type { Sample } from './load/httpLoad.ts'
import type { Case, Row } from './rows/case.ts'
import { concat, median, percentile } from './stats.ts'

const ROUNDS = 5
const WARM_UP_SECONDS = 4

interface Round extends Sample {
  readonly cpu: Readonly<Record<string, number>>
}

/**
 * Measures the cases in turns, a few short rounds of each, and takes medians: a machine that is slower for a while
 * then slows what is compared alike.
 */
export async function measure(
  cases: readonly Case[],
  seconds: number,
  say: (message: string) => void,
): Promise<Row[]> {
  const rounds = new Map<Case, Round[]>()
  for (const benchCase of cases) {
    say(`warming up: ${benchCase.name}`)
    await benchCase.prepare()
    await benchCase.run(WARM_UP_SECONDS)
    rounds.set(benchCase, [])
  }
  for (let n = 1; n <= ROUNDS; n++) {
    for (const [benchCase, done] of rounds) {
      const round = await measureOnce(benchCase, seconds / ROUNDS)
      done.push(round)
      say(`round ${n} of ${ROUNDS}: ${benchCase.name}: ${Math.round(round.count / round.seconds)}/s`)
    }
  }
  return [...rounds].map(([benchCase, done]) => rowOf(benchCase, done))
}

async function measureOnce(benchCase: Case, seconds: number): Promise<Round> {
  const pids = await benchCase.prepare()
  const before = await cpuOf(pids)
  const sample = await benchCase.run(seconds)
  const after = await cpuOf(pids)
  const cpu = Object.entries(after ?? {}).map(([name, ms]) => [name, ms - before![name]!] as const)
  return { ...sample, cpu: Object.fromEntries(cpu) }
}

function rowOf({ id, group, name, note }: Case, rounds: readonly Round[]): Row {
  const latencies = concat(rounds.map((round) => round.latencies)).sort()
  const rates = rounds.map((round) => round.count / round.seconds)
  const count = rounds.reduce((sum, round) => sum + round.count, 0)
  const processes = Object.keys(rounds[0]!.cpu)
  const cpuMs = (process: string) => rounds.reduce((sum, round) => sum + round.cpu[process]!, 0)
  return {
    id,
    group,
    name,
    unit: 'per second',
    value: median(rates),
    rounds: rates,
    ...(latencies.length > 0 ? { p50: percentile(latencies, 50), p99: percentile(latencies, 99) } : {}),
    cpu: Object.fromEntries(processes.map((name) => [name, (cpuMs(name) * 1000) / count])),
    ...(note === undefined ? {} : { note }),
  }
}
