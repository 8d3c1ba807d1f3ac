import type { Db } from '../../../db/pool.ts'
import { pause } from '../../../lib/backoff.ts'
import { archivedHashes } from '../../archivedHashes.ts'
import type { Leaf } from '../leaf.ts'
import { getIfThere } from '../store.ts'
import { type Stored, storedOf } from './queries.ts'
import type { CheckpointStore, Logs } from './verify.ts'

/** Events move, and objects are replaced, while they are looked for; then the manifest is asked again. */
const ATTEMPTS = 4
const PAUSE_MS = 50

/**
 * The logs of a database: the hash of each leaf's event, from Postgres, or from its object when it is cold. Where the
 * session has not moved since, its head is enough for a cold event: that the head follows from its events is not for here.
 */
export class StoredLogs implements Logs {
  readonly #db: Db
  readonly #store: Pick<CheckpointStore, 'get'>

  constructor(db: Db, store: Pick<CheckpointStore, 'get'>) {
    this.#db = db
    this.#store = store
  }

  async compare(
    _: number,
    leaves: readonly Leaf[],
    onWrong: (leaf: Leaf, detail: string) => void,
  ): Promise<void> {
    let rest = leaves
    for (let attempt = 1; rest.length > 0; attempt += 1) {
      const wrong = await this.#differing(rest)
      if (attempt === ATTEMPTS) for (const [leaf, detail] of wrong) onWrong(leaf, detail)
      if (attempt === ATTEMPTS || wrong.size === 0) return
      rest = [...wrong.keys()]
      await pause(PAUSE_MS)
    }
  }

  async #differing(leaves: readonly Leaf[]): Promise<Map<Leaf, string>> {
    const wrong = new Map<Leaf, string>()
    const cold = new Map<string, { leaf: Leaf; place: NonNullable<Stored['cold']> }[]>()
    for (const [i, it] of (await storedOf(this.#db, leaves)).entries()) {
      const leaf = leaves[i] as Leaf
      const { head, hash, cold: place } = it
      const fault = faultOf(leaf, it)
      if (fault !== undefined) wrong.set(leaf, fault)
      else if (hash === undefined && place !== undefined && head?.seq !== leaf.seq)
        cold.set(place.key, [...(cold.get(place.key) ?? []), { leaf, place }])
    }
    for (const [key, those] of cold) {
      const object = await getIfThere(this.#store, key)
      for (const { leaf, place } of those) {
        const found =
          object && (await hashIn(object.subarray(place.offset, place.offset + place.bytes), leaf))
        if (object === undefined) wrong.set(leaf, `the object ${key}, with the event, is gone`)
        else if (found !== leaf.hash)
          wrong.set(leaf, found === undefined ? `the event is not in ${key}` : differs(found))
      }
    }
    return wrong
  }
}

const differs = (found: string) => `the event has the hash ${found}, and another one was signed`

function faultOf(leaf: Leaf, { head, hash, cold }: Stored): string | undefined {
  if (head === undefined) return 'the session is gone'
  if (head.seq < leaf.seq) return `the log ends with event ${head.seq}`
  if (head.seq === leaf.seq && head.hash !== leaf.hash)
    return `the head of the session has the hash ${head.hash}, and another one was signed`
  if (hash !== undefined) return hash === leaf.hash ? undefined : differs(hash)
  return cold === undefined ? 'the event is gone' : undefined
}

/** Of the leaf's event, in its slice; undefined when it is not there, or the slice is damaged. */
async function hashIn(slice: Buffer, { sessionId, seq }: Leaf): Promise<string | undefined> {
  for await (const it of archivedHashes(slice)) if (it.seq === seq && it.session === sessionId) return it.hash
  return undefined
}
