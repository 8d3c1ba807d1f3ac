import { readFile } from 'node:fs/promises'
import { archivedHashes } from '../archivedHashes.ts'
import type { ObjectFile } from './copyFiles.ts'

/**
 * The first seq of a session that these files have with more than one hash; undefined when there is none. Damaged
 * files are read up to the damage.
 */
export async function firstDiffering(
  files: readonly ObjectFile[],
  session: string,
): Promise<number | undefined> {
  const hashes = new Map<number, string>()
  let first: number | undefined
  for (const file of files)
    for await (const it of archivedHashes(await readFile(file.path))) {
      if (it.session !== session) continue
      const isFirst = it.seq < (first ?? Number.POSITIVE_INFINITY)
      if (isFirst && (hashes.get(it.seq) ?? it.hash) !== it.hash) first = it.seq
      hashes.set(it.seq, it.hash)
    }
  return first
}
