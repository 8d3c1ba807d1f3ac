import type { DbSession } from '../../../db/session.ts'
import { pause } from '../../../lib/backoff.ts'
import type { ObjectStore } from '../../../objects/objectStore.ts'
import { archivedHashes } from '../../archivedHashes.ts'
import { getIfThere } from '../store.ts'
import { type Suspect, whereIs } from './queries.ts'

/** Events move, and objects are replaced, while they are looked for. */
const ATTEMPTS = 4
const PAUSE_MS = 50

/** The hash of an event that was signed, wherever it lies; undefined when it is nowhere. Rejects when the store is away. */
export async function hashAt(
  session: DbSession,
  store: ObjectStore,
  { sid, sessionId, signedSeq }: Suspect,
  signal: AbortSignal,
): Promise<string | undefined> {
  for (let attempt = 1; ; attempt += 1) {
    const { hash, cold } = await whereIs(session, sid, signedSeq)
    if (hash !== undefined) return hash
    const object = cold && (await getIfThere(store, cold.key, signal))
    if (cold !== undefined && object !== undefined) {
      const slice = object.subarray(cold.offset, cold.offset + cold.bytes)
      for await (const it of archivedHashes(slice))
        if (it.seq === signedSeq && it.session === sessionId) return it.hash
    }
    if (attempt === ATTEMPTS) return undefined
    await pause(PAUSE_MS, signal)
  }
}
