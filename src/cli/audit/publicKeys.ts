import type { KeyObject } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { trustedKeys } from '../../audit/checkpoints/signer.ts'
import { UsageError } from '../exit.ts'

/** Reads public keys, by their ids. Rejects with a UsageError that names the file without one. */
export async function readPublicKeys(files: readonly string[]): Promise<ReadonlyMap<string, KeyObject>> {
  const keys = new Map<string, KeyObject>()
  for (const file of files)
    try {
      for (const [id, key] of trustedKeys([await readFile(file, 'utf8')])) keys.set(id, key)
    } catch (error) {
      throw new UsageError(`--public-key ${file}: ${(error as Error).message}`)
    }
  return keys
}
