import { classify } from '../../db/failure.ts'
import type { DbSession } from '../../db/session.ts'
import type { Log } from '../../ops/log.ts'
import * as queries from './queries.ts'

/**
 * Asks for the erasure of what the rules of retention say is due, a bounded step at a time; what has to be done for it
 * is the eraser's. `session` holds the job's lock.
 */
export async function applyRetention(session: DbSession, log: Log, signal: AbortSignal): Promise<void> {
  if (!(await queries.hasRules(session))) return
  let sessions = 0
  for (const due of await queries.nextDueSessions(session)) {
    if (signal.aborted) return
    try {
      if (await queries.eraseIdle(session, due)) sessions += 1
    } catch (error) {
      if (classify(error) !== 'locked') throw error // somebody is at it, so it is not idle
    }
  }
  await queries.advance(session)
  const segments = await queries.eraseAged(session)
  if (sessions + segments > 0) log.info({ sessions, segments }, 'retention asked for erasures')
}
