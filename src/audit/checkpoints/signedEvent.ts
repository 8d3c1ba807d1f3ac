import type { DbSession } from '../../db/session.ts'
import { pause } from '../../lib/backoff.ts'
import type { ObjectStore } from '../../objects/objectStore.ts'
import { archivedHashes } from '../archivedHashes.ts'
import { type Location, locationsOf, type Suspect } from './contradictionQueries.ts'
import { getIfThere } from './store.ts'

/** How often locations are looked up: events move, and objects are replaced, meanwhile. */
const ATTEMPTS = 4
const PAUSE_MS = 50

/**
 * The hashes of events that were signed, by sid, in either tier; events that exist nowhere are absent. Rejects when
 * the store is unavailable.
 */
export async function hashesOf(
  session: DbSession,
  store: ObjectStore,
  suspects: readonly Suspect[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  const hashes = new Map<string, string>()
  for (let [attempt, rest] = [1, suspects]; rest.length > 0; attempt += 1) {
    const cold = new Map<string, Map<Suspect, Location>>()
    for (const [i, { hash, location }] of (await locationsOf(session, rest)).entries()) {
      const it = rest[i] as Suspect
      if (hash !== undefined) hashes.set(it.sid, hash)
      else if (location !== undefined)
        cold.set(location.key, (cold.get(location.key) ?? new Map<Suspect, Location>()).set(it, location))
    }
    for (const [key, those] of cold) {
      const object = await getIfThere(store, key, signal)
      if (object !== undefined) for (const [it, location] of those) await read(object, it, location, hashes)
    }
    rest = rest.filter((it) => !hashes.has(it.sid))
    if (attempt === ATTEMPTS) break
    if (rest.length > 0) await pause(PAUSE_MS, signal)
  }
  return hashes
}

async function read(
  object: Buffer,
  { sid, sessionId, signedSeq }: Suspect,
  { offset, bytes }: Location,
  hashes: Map<string, string>,
): Promise<void> {
  for await (const it of archivedHashes(object.subarray(offset, offset + bytes)))
    if (it.seq === signedSeq && it.session === sessionId) hashes.set(sid, it.hash)
}
