import { hash } from 'node:crypto'
import { decodeEvent } from '../../db/eventRows.ts'
import type { Db } from '../../db/pool.ts'
import { pause } from '../../lib/backoff.ts'
import { type ObjectStore, ObjectStoreError } from '../../objects/objectStore.ts'
import { DamagedObjectError } from '../../tiering/archive.ts'
import { frameOfLine, linesOfSlice } from '../../tiering/slice.ts'
import { type Content, contentOf } from './proof.ts'
import { type ColdRun, firstRun, readHot } from './queries.ts'

/** An event with what its chain is made of. */
export interface Entry {
  readonly seq: number
  readonly frame: string
  /** Null when it was erased. */
  readonly salt: string | null
  /** As it was sent; made when it is asked for. */
  content(): Content
  readonly contentDigest: string
  readonly hash: string
}

const HOT_PAGE = 1000
/** Events move, and objects are replaced, while they are read; then the manifest is asked again. */
const ATTEMPTS = 5
const PAUSE_MS = 50

/** The events of a range, from both tiers, in order. Rejects when one of them is not to be had. */
export async function* readEntries(
  db: Db,
  store: ObjectStore,
  sid: string,
  from: number,
  to: number,
): AsyncGenerator<Entry, void> {
  for (let [next, attempt] = [from, 1]; next <= to; ) {
    let page: Entry[] = []
    let failure: unknown
    try {
      page = await readPage(db, store, sid, next, to)
    } catch (error) {
      const isStale =
        error instanceof DamagedObjectError || (error instanceof ObjectStoreError && error.kind === 'missing')
      if (!isStale) throw error
      failure = error
    }
    for (const entry of page) {
      if (entry.seq !== next) break
      yield entry
      next += 1
      attempt = 0
    }
    if (next > to) return
    if (attempt >= ATTEMPTS) throw failure ?? new Error(`event ${next} is missing`)
    if (attempt > 0) await pause(PAUSE_MS)
    attempt += 1
  }
}

/** From `from` on, of one place: what is hot there, or else one slice. */
async function readPage(db: Db, store: ObjectStore, sid: string, from: number, to: number): Promise<Entry[]> {
  const hot = (await readHot(db, sid, from, to, HOT_PAGE)).map(entryOfRow)
  if (hot[0]?.seq === from) return hot
  const run = await firstRun(db, sid, from, to)
  return run === undefined ? [] : (await readRun(store, run)).filter(({ seq }) => seq >= from && seq <= to)
}

function entryOfRow(row: readonly (string | null)[]): Entry {
  const [salt, contentDigest, hash] = row
  const { seq, text: frame } = decodeEvent(row, 3)
  // EVENT_COLUMNS: the parts of the content as they are in the row.
  const content = { payload: row[5] as string, metadata: row[11] as string, refs: row[12] as string }
  return {
    seq,
    frame,
    salt: salt ?? null,
    content: () => content,
    contentDigest: contentDigest as string,
    hash: hash as string,
  }
}

async function readRun(store: ObjectStore, run: ColdRun): Promise<Entry[]> {
  const member = await store.getRange(run.key, run.offset, run.bytes)
  if (hash('sha256', member) !== run.sha256)
    throw new DamagedObjectError(`the bytes of ${run.key} at ${run.offset} are not those of the manifest`)
  const lines = await linesOfSlice(member, run.firstSeq, run.lastSeq)
  return lines.map((line, i) => entryOfLine(line, run.firstSeq + i))
}

/** An archived line, without its line feed. */
export function entryOfLine(line: string, seq: number): Entry {
  const frame = frameOfLine(line, seq).text
  const { salt, content_digest, hash } = JSON.parse(
    `{${line.slice(line.lastIndexOf(',"session_id":') + 1)}`,
  ) as {
    salt: string | null
    content_digest: string
    hash: string
  }
  return { seq, frame, salt, content: () => contentOf(frame), contentDigest: content_digest, hash }
}
