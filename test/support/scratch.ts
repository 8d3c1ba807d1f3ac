import { statfsSync } from 'node:fs'
import { chmod, mkdtemp, realpath } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { removeLeftovers } from './leftovers.ts'

const MEMORY = '/dev/shm'
/** Several times what the tests have at a time. */
const ENOUGH_BYTES = 8 * 1024 ** 3

let cleaning: Promise<void> | undefined

/**
 * A new directory that the account of a server can enter, and that the test removes. Its name says which process
 * made it, so that the next one finds what was left by a killed one.
 */
export async function makeScratch(what: string): Promise<string> {
  const parent = await realpath(scratchDirectory())
  cleaning ??= removeLeftovers(parent)
  await cleaning
  const dir = await mkdtemp(path.join(parent, `starcite-${what}-${process.pid}-`))
  await chmod(dir, 0o755)
  return dir
}

/**
 * The directory for data that tests throw away: memory, where there is plenty, because making and dropping some
 * hundred databases on a disk takes more time than many a test; else the temporary directory.
 */
function scratchDirectory(): string {
  try {
    const { bavail, bsize } = statfsSync(MEMORY)
    return bavail * bsize >= ENOUGH_BYTES ? MEMORY : tmpdir()
  } catch {
    return tmpdir()
  }
}
