import { execFile } from 'node:child_process'
import { readdir, readFile, rm } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { readPostmaster } from '../../src/db/embedded/postmaster.ts'
import { startTimeOf } from '../../src/db/embedded/processes.ts'
import { stopServer } from '../../src/db/embedded/stop.ts'

const run = promisify(execFile)

const MADE_BY = /^starcite-[a-zA-Z0-9-]+-(?<pid>\d+)-[^-]+$/
/** A data directory lies in the scratch directory, or on a disk that is mounted in there. */
const DEPTH = 2

/**
 * What test processes that were killed have left in `parent`: their servers, which outlive them by design, their mounts
 * and their directories.
 */
export async function removeLeftovers(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const pid = MADE_BY.exec(name)?.groups?.pid
    if (pid === undefined || (await startTimeOf(Number(pid))) !== undefined) continue
    const dir = path.join(parent, name)
    try {
      for (const data of await dataDirectories(dir, DEPTH)) await endServer(data)
      await unmountAllIn(dir)
      await rm(dir, { recursive: true, force: true })
    } catch {
      // Another user's, or another test process is removing it at this moment.
    }
  }
}

/** Stops the server of a data directory; of one that was killed, the kernel still has something, which goes too. */
export async function endServer(data: string): Promise<void> {
  const server = await readPostmaster(data)
  if (server === undefined) return
  await stopServer(server.pid, data)
  await freeSharedMemory(data)
}

/**
 * Each server has a few bytes of System V memory, by which it knows whether another one runs on its directory. Only its
 * own end, or the next start there, frees them. `postmaster.pid` has their key and id; it is gone after an end in order.
 */
async function freeSharedMemory(data: string): Promise<void> {
  const text = await readFile(path.join(data, 'postmaster.pid'), 'utf8').catch(() => '')
  const [key, id] = text.split('\n')[6]?.trim().split(/\s+/) ?? []
  const segments = await readFile('/proc/sysvipc/shm', 'utf8').catch(() => '')
  const unused = segments.split('\n').some((line) => {
    const [itsKey, itsId, , , , , attached] = line.trim().split(/\s+/)
    return id !== undefined && itsKey === key && itsId === id && attached === '0'
  })
  if (unused && id !== undefined) await run('ipcrm', ['-m', id])
}

async function dataDirectories(dir: string, depth: number): Promise<string[]> {
  const found: string[] = []
  const entries = await readdir(dir, { withFileTypes: true })
  if (entries.some((entry) => entry.name === 'postmaster.pid')) return [dir]
  if (depth === 0) return found
  for (const entry of entries)
    if (entry.isDirectory()) found.push(...(await dataDirectories(path.join(dir, entry.name), depth - 1)))
  return found
}

async function unmountAllIn(dir: string): Promise<void> {
  const mounts = await readFile('/proc/mounts', 'utf8').catch(() => '')
  for (const line of mounts.split('\n')) {
    const at = line.split(' ')[1]
    if (at?.startsWith(`${dir}/`)) await run('umount', [at])
  }
}
