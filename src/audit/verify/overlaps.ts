import { readFile } from 'node:fs/promises'
import { ArchivedLine } from '../archivedLine.ts'
import { wholeLines } from '../gunzip.ts'
import type { ObjectFile } from './copyFiles.ts'

const LINE_FEED = 0x0a

/** The first seq of a session that these files have with more than one hash; undefined when there is none. */
export async function firstDiffering(
  files: readonly ObjectFile[],
  session: string,
): Promise<number | undefined> {
  const hashes = new Map<number, string>()
  const differing: number[] = []
  const line = new ArchivedLine()
  for (const file of files)
    for await (const text of wholeLines(await readFile(file.path)))
      for (let start = 0; start < text.length; ) {
        const end = text.indexOf(LINE_FEED, start)
        line.read(text, start, end)
        start = end + 1
        if (line.text(line.sessionId) !== session) continue
        const hash = line.raw(line.hash)
        if ((hashes.get(line.seq) ?? hash) !== hash) differing.push(line.seq)
        hashes.set(line.seq, hash)
      }
  return differing.length === 0 ? undefined : Math.min(...differing)
}
