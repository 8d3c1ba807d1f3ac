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
  /** Of all processes of the server, without what they share. */
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
 * The proportional set size of what its processes have for themselves: a page that n of them share since their fork
 * counts 1/n in each. Without shared memory, which is of a fixed size and touched bit by bit, and without mapped files.
 */
async function memoryOfFamily(parent: number): Promise<number> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const sizes = await Promise.all(
    pids.map(async (pid) => {
      const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
      const parentPid = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
      if (Number(pid) !== parent && parentPid !== parent) return 0
      const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'latin1').catch(() => '')
      return Number(/^Pss_Anon: +(\d+) kB/m.exec(rollup)?.[1] ?? 0) * 1024
    }),
  )
  return sizes.reduce((sum, size) => sum + size, 0)
}
