import { statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'

const MEMORY = '/dev/shm'
/** Several times what the tests have at a time. */
const ENOUGH_BYTES = 8 * 1024 ** 3

/**
 * Where servers of the tests keep data that nobody wants afterwards: memory, where there is plenty, because making and
 * dropping some hundred databases on a disk takes more time than many a test; else the temporary directory.
 */
export function scratchDirectory(): string {
  try {
    const { bavail, bsize } = statfsSync(MEMORY)
    return bavail * bsize >= ENOUGH_BYTES ? MEMORY : tmpdir()
  } catch {
    return tmpdir()
  }
}
