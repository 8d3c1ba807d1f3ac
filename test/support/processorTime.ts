import { readFile } from 'node:fs/promises'
import type pg from 'pg'

/**
 * Milliseconds of processor time that some work of this thread takes: the best of some rounds, for collecting garbage and
 * compiling add to some of them. Other processes do not.
 */
export function processorMs(work: () => unknown, rounds = 3): number {
  let best = Number.POSITIVE_INFINITY
  for (let i = 0; i < rounds; i += 1) {
    const before = process.cpuUsage()
    work()
    const { user, system } = process.cpuUsage(before)
    best = Math.min(best, (user + system) / 1000)
  }
  return best
}

/** Linux counts in ticks of this length, on every architecture that Node runs on. */
const TICK_MS = 10

/**
 * Milliseconds of processor time that the backend of this connection has used. Where there is no /proc, or the backend is on
 * another machine, the time of day stands in for it.
 */
export async function backendMs(db: pg.Client): Promise<number> {
  const { rows } = await db.query('select pg_backend_pid() as pid')
  const stat = await readFile(`/proc/${rows[0].pid}/stat`, 'latin1').catch(() => '')
  if (!stat.includes('(postgres)')) return performance.now()
  // What follows the name is numbers. See proc(5).
  const [user, system] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
  return (Number(user) + Number(system)) * TICK_MS
}
