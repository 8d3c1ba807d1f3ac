import { readdir, readFile } from 'node:fs/promises'

/** Linux counts in ticks of this length, on every architecture that Node runs on. */
const TICK_MS = 10

/** Milliseconds of CPU that each process has used. Undefined where there is no /proc. */
export async function cpuOf(
  pids: Readonly<Record<string, number>>,
): Promise<Record<string, number> | undefined> {
  if (process.platform !== 'linux') return undefined
  const entries = Object.entries(pids).map(async ([name, pid]) => [name, await familyMs(pid)] as const)
  return Object.fromEntries(await Promise.all(entries))
}

/** A process and its children, gone or living: Postgres does its work in backends. */
async function familyMs(parent: number): Promise<number> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const stats = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')))
  let ticks = 0
  for (const [i, stat] of stats.entries()) {
    // The name, in parentheses, may hold anything; what follows is numbers. See proc(5).
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const [parentPid, user, system, waitedUser, waitedSystem] = [1, 11, 12, 13, 14].map((index) =>
      Number(fields[index]),
    )
    if (Number(pids[i]) === parent) ticks += user! + system! + waitedUser! + waitedSystem!
    else if (parentPid === parent) ticks += user! + system!
  }
  return ticks * TICK_MS
}
