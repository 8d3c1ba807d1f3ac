import type { Db } from '../../db/pool.ts'
import { AppError } from '../../protocol/errors.ts'
import type { Erasure, ErasureRequest } from './queries.ts'
import * as queries from './queries.ts'

/**
 * Requests the erasure of sessions and events, and reports its progress. Once a call has returned, no reader sees the
 * content; the tiering job removes it (tiering/erase/).
 */
export class Erasures {
  readonly #db: Db
  readonly #onRequested: () => void

  /** `onRequested` is called when there is content to remove. */
  constructor(db: Db, onRequested: () => void) {
    this.#db = db
    this.#onRequested = onRequested
  }

  /** Returns the earlier erasure when the session is erased already. Throws session_not_found, legal_hold. */
  async eraseSession(request: ErasureRequest): Promise<Erasure> {
    const { outcome, id } = await queries.eraseSession(this.#db, request)
    return this.#requested(request, outcome, id)
  }

  /**
   * Returns the earlier redaction when the event is redacted already. Throws session_not_found, session_erased,
   * event_not_found, legal_hold.
   */
  async redactEvent(request: ErasureRequest, seq: number): Promise<Erasure> {
    const { outcome, id } = await queries.redactEvent(this.#db, request, seq)
    if (outcome === 'event_not_found')
      throw new AppError(
        'event_not_found',
        `session ${JSON.stringify(request.sessionId)} has no event ${seq}`,
      )
    if (outcome === 'session_erased')
      throw new AppError('session_erased', `session ${JSON.stringify(request.sessionId)} was erased`)
    return this.#requested(request, outcome, id)
  }

  /** Throws erasure_not_found. */
  async get(tenantId: string, id: string): Promise<Erasure> {
    const erasure = UUID.test(id) ? await queries.findErasure(this.#db, tenantId, id) : undefined
    if (erasure === undefined) throw new AppError('erasure_not_found', 'there is no such erasure')
    return erasure
  }

  async #requested(
    { tenantId, sessionId }: ErasureRequest,
    outcome: string,
    id: string | null,
  ): Promise<Erasure> {
    if (outcome === 'legal_hold')
      throw new AppError('legal_hold', `session ${JSON.stringify(sessionId)} is under a legal hold`)
    if (id === null)
      throw new AppError('session_not_found', `there is no session ${JSON.stringify(sessionId)}`)
    if (outcome === 'erased' || outcome === 'redacted') this.#onRequested()
    return this.get(tenantId, id)
  }
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
