import { readdir, readFile } from 'node:fs/promises'
import type { StarciteNode } from '../node.ts'

/** What a node and its Postgres hold at one moment. Bytes, file descriptors, milliseconds. */
export interface Sample {
  readonly rss: number
  readonly heapUsed: number
  readonly external: number
  readonly files: number
  /** The 99th percentile since the sample before. */
  readonly loopLagMs: number
  /** All processes of the server; what they share is counted once. */
  readonly postgres: number
}

export async function takeSample(node: StarciteNode, postmaster: number): Promise<Sample> {
  const [own, postgres] = await Promise.all([
    node.ask<Omit<Sample, 'postgres'>>(),
    memoryOfFamily(postmaster),
  ])
  return { ...own, postgres }
}

/**
 * Proportional set size: a page that n processes share counts 1/n in each. Without files that are mapped: of the program
 * and its libraries a part belongs to other servers on the machine, which come and go.
 */
async function memoryOfFamily(parent: number): Promise<number> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const sizes = await Promise.all(
    pids.map(async (pid) => {
      const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
      const parentPid = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
      if (Number(pid) !== parent && parentPid !== parent) return 0
      const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'latin1').catch(() => '')
      const kilobytes = [...rollup.matchAll(/^Pss_(?:Anon|Shmem): +(\d+) kB/gm)].map(([, it]) => Number(it))
      return kilobytes.reduce((sum, it) => sum + it, 0) * 1024
    }),
  )
  return sizes.reduce((sum, it) => sum + it, 0)
}
