import type { Db } from '../../../db/pool.ts'
import { pause } from '../../../lib/backoff.ts'
import { archivedHashes } from '../../archivedHashes.ts'
import type { Leaf } from '../leaf.ts'
import { getIfThere } from '../store.ts'
import { Coverage } from './coverage.ts'
import { type Stored, storedOf } from './queries.ts'
import type { CheckpointStore, Logs, OnWrong, Verifiable } from './verify.ts'

const LEAVES_AT_ONCE = 5000

/** How often the manifest is asked: events move, and objects are replaced, meanwhile. */
const ATTEMPTS = 4
const PAUSE_MS = 50

/**
 * The logs of a database: the hash of each leaf's event, from Postgres, or from its object when it is cold. Where the
 * session has not moved since, its head is enough for a cold event; `audit verify` checks that the head follows from
 * the events. Also checks the recorded coverage of sessions.
 */
export class StoredLogs implements Logs {
  readonly #db: Db
  readonly #store: Pick<CheckpointStore, 'get'>
  readonly #coverage = new Coverage()

  constructor(db: Db, store: Pick<CheckpointStore, 'get'>) {
    this.#db = db
    this.#store = store
  }

  async compare(checkpoint: Verifiable, leaves: readonly Leaf[], onWrong: OnWrong): Promise<void> {
    this.#coverage.begin(checkpoint)
    for (let i = 0; i < leaves.length; i += LEAVES_AT_ONCE)
      await this.#compareSome(checkpoint, leaves.slice(i, i + LEAVES_AT_ONCE), onWrong)
  }

  finish(onWrong: OnWrong): Promise<void> {
    return this.#coverage.finish(this.#db, this.#store, onWrong)
  }

  async #compareSome(checkpoint: Verifiable, leaves: readonly Leaf[], onWrong: OnWrong): Promise<void> {
    let stored = await storedOf(this.#db, leaves)
    for (const [i, { covered }] of stored.entries())
      this.#coverage.compare(checkpoint, leaves[i] as Leaf, covered, onWrong)
    for (let [attempt, rest] = [1, leaves]; ; attempt += 1) {
      const wrong = await this.#differing(rest, stored)
      if (attempt === ATTEMPTS)
        for (const [leaf, detail] of wrong) onWrong('checkpoint', checkpoint.number, leaf, detail)
      if (attempt === ATTEMPTS || wrong.size === 0) return
      rest = [...wrong.keys()]
      await pause(PAUSE_MS)
      stored = await storedOf(this.#db, rest)
    }
  }

  async #differing(leaves: readonly Leaf[], stored: readonly Stored[]): Promise<Map<Leaf, string>> {
    const wrong = new Map<Leaf, string>()
    const cold = new Map<string, { leaf: Leaf; location: NonNullable<Stored['cold']> }[]>()
    for (const [i, it] of stored.entries()) {
      const leaf = leaves[i] as Leaf
      const { head, hash, cold: location } = it
      const fault = faultOf(leaf, it)
      if (fault !== undefined) wrong.set(leaf, fault)
      else if (hash === undefined && location !== undefined && head?.seq !== leaf.seq)
        cold.set(location.key, [...(cold.get(location.key) ?? []), { leaf, location }])
    }
    for (const [key, those] of cold) {
      const object = await getIfThere(this.#store, key)
      for (const { leaf, location } of those) {
        const found =
          object && (await hashIn(object.subarray(location.offset, location.offset + location.bytes), leaf))
        if (object === undefined) wrong.set(leaf, `the object ${key}, which has the event, is gone`)
        else if (found !== leaf.hash)
          wrong.set(leaf, found === undefined ? `the event is not in ${key}` : differs(found))
      }
    }
    return wrong
  }
}

const differs = (found: string) => `the event has the hash ${found}, and a different one was signed`

function faultOf(leaf: Leaf, { head, hash, cold }: Stored): string | undefined {
  if (leaf.seq === 0) return undefined // the session was gone, and a session of that id is newer
  if (head === undefined) return 'the session is gone'
  if (head.seq < leaf.seq) return `the log ends with event ${head.seq}`
  if (head.seq === leaf.seq && head.hash !== leaf.hash)
    return `the head of the session has the hash ${head.hash}, and a different one was signed`
  if (hash !== undefined) return hash === leaf.hash ? undefined : differs(hash)
  return cold === undefined ? 'the event is gone' : undefined
}

/** The hash of the leaf's event in its slice; undefined when it is not there, or the slice is damaged. */
async function hashIn(slice: Buffer, { sessionId, seq }: Leaf): Promise<string | undefined> {
  for await (const it of archivedHashes(slice)) if (it.seq === seq && it.session === sessionId) return it.hash
  return undefined
}
