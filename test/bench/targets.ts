import type { Row } from './rows/case.ts'
import { median } from './stats.ts'

export interface Verdict {
  /** The row it stands beside in the table. */
  readonly row: string
  readonly what: string
  readonly got: number
  readonly wanted: number
  readonly bound: 'at least' | 'at most'
  readonly met: boolean
}

interface Target {
  readonly row: string
  readonly what: string
  readonly wanted: number
  readonly bound: 'at least' | 'at most'
  /** The row that it is divided by, if it is a ratio. */
  readonly over?: string
  readonly figure: 'value' | 'withoutManifest' | 'p50' | 'p99'
}

const TARGETS: readonly Target[] = [
  { row: 'ours-64', what: '× by hand', over: 'baseline-64', figure: 'value', wanted: 4, bound: 'at least' },
  {
    row: 'ours-64',
    what: '× empty route',
    over: 'floor-64',
    figure: 'value',
    wanted: 0.6,
    bound: 'at least',
  },
  { row: 'ours-64', what: 'ms p99', figure: 'p99', wanted: 40, bound: 'at most' },
  {
    row: 'ours-1',
    what: '× bare commit, p50',
    over: 'commit-1',
    figure: 'p50',
    wanted: 2.5,
    bound: 'at most',
  },
  {
    row: 'hot-64',
    what: '× over 200 sessions',
    over: 'ours-64',
    figure: 'value',
    wanted: 0.8,
    bound: 'at least',
  },
  {
    row: 'socket-64',
    what: '× over HTTP',
    over: 'ours-64',
    figure: 'value',
    wanted: 2.5,
    bound: 'at least',
  },
  {
    row: 'batches-8',
    what: '× by hand',
    over: 'baseline-64',
    figure: 'value',
    wanted: 15,
    bound: 'at least',
  },
  { row: 'direct-256', what: 'events/s', figure: 'value', wanted: 20_000, bound: 'at least' },
  {
    row: 'chained-1',
    what: '× hashing switched off',
    over: 'unchained-1',
    figure: 'value',
    wanted: 0.9,
    bound: 'at least',
  },
  {
    row: 'chained-64',
    what: '× hashing switched off',
    over: 'unchained-64',
    figure: 'value',
    wanted: 0.9,
    bound: 'at least',
  },
  { row: 'verify-sql', what: 'events/s', figure: 'value', wanted: 150_000, bound: 'at least' },
  { row: 'lag-same', what: 'deliveries/s: none behind', figure: 'value', wanted: 9_800, bound: 'at least' },
  { row: 'lag-same', what: 'ms p99', figure: 'p99', wanted: 50, bound: 'at most' },
  { row: 'lag-other', what: 'deliveries/s: none behind', figure: 'value', wanted: 9_800, bound: 'at least' },
  { row: 'lag-other', what: 'ms p99', figure: 'p99', wanted: 50, bound: 'at most' },
  { row: 'fanout', what: 'ms p99', figure: 'p99', wanted: 100, bound: 'at most' },
  { row: 'crowd-sse', what: '× raw tails, p99', over: 'crowd', figure: 'p99', wanted: 2, bound: 'at most' },
  { row: 'replay', what: 'events/s', figure: 'value', wanted: 60_000, bound: 'at least' },
  {
    row: 'replay-500',
    what: 'events/s',
    figure: 'value',
    wanted: 180_000,
    bound: 'at least',
  },
  {
    row: 'moving-64',
    what: '× append, 64 connections',
    over: 'ours-64',
    figure: 'value',
    wanted: 0.75,
    bound: 'at least',
  },
  {
    row: 'replay-cold',
    what: '× hot, a frame each',
    over: 'replay',
    figure: 'value',
    wanted: 0.5,
    bound: 'at least',
  },
  { row: 'move', what: 'events/s', figure: 'value', wanted: 50_000, bound: 'at least' },
  { row: 'audit-verify', what: 'events/s', figure: 'value', wanted: 100_000, bound: 'at least' },
  { row: 'drop', what: 'ms', figure: 'value', wanted: 50, bound: 'at most' },
  { row: 'checkpoint', what: 'ms', figure: 'value', wanted: 5_000, bound: 'at most' },
  {
    row: 'signing-64',
    what: '× without a checkpoint',
    over: 'unsigned-64',
    figure: 'value',
    wanted: 0.9,
    bound: 'at least',
  },
  { row: 'soak', what: '× whole', figure: 'value', wanted: 1.1, bound: 'at most' },
  { row: 'soak', what: '× whole', figure: 'value', wanted: 0.9, bound: 'at least' },
  { row: 'soak', what: '× without the manifest', figure: 'withoutManifest', wanted: 1.1, bound: 'at most' },
  {
    row: 'idle-topics',
    what: '× a socket each',
    over: 'idle-tails',
    figure: 'value',
    wanted: 0.5,
    bound: 'at most',
  },
]

/** The targets, as far as the rows for them were run. */
export function judge(rows: readonly Row[]): Verdict[] {
  const byId = new Map(rows.map((row) => [row.id, row]))
  return TARGETS.flatMap(({ row: id, what, over: overId, figure, wanted, bound }) => {
    const row = byId.get(id)
    const over = overId === undefined ? undefined : byId.get(overId)
    if (row === undefined || (overId !== undefined && over === undefined)) return []
    const got = over === undefined ? row[figure] : ratio(row, over, figure)
    if (got === undefined) return []
    return [{ row: id, what, got, wanted, bound, met: bound === 'at least' ? got >= wanted : got <= wanted }]
  })
}

/** Of rates it is the median of each round's ratio: within a round both met the machine in the same mood. */
function ratio(row: Row, over: Row, figure: Target['figure']): number {
  const { rounds } = over
  if (figure !== 'value' || row.rounds === undefined || rounds === undefined)
    return row[figure]! / over[figure]!
  return median(row.rounds.map((rate, round) => rate / rounds[round]!))
}
