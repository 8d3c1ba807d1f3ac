import { randomBytes } from 'node:crypto'
import type { Db } from '../db/pool.ts'
import { AppError } from '../protocol/errors.ts'
import * as queries from './queries.ts'
import type { Session } from './session.ts'

export interface SessionPage {
  readonly sessions: readonly Session[]
  readonly nextCursor: string | null
}

/** The caller of changes that come from no request. */
const NO_CALLER: queries.Caller = { actor: null, requestId: null }

/** Operations on sessions, apart from those on their logs. */
export class Sessions {
  readonly #db: Db
  readonly #maxMetadataBytes: number
  readonly #onChanged: () => void

  /** `onChanged` is called once a change has committed. */
  constructor(db: Db, maxMetadataBytes: number, onChanged: () => void = () => {}) {
    this.#db = db
    this.#maxMetadataBytes = maxMetadataBytes
    this.#onChanged = onChanged
  }

  /** Throws session_not_found or session_erased. */
  async get(tenantId: string, id: string): Promise<Session> {
    const session = await queries.findSession(this.#db, tenantId, id)
    if (session === undefined) throw notFound(id)
    if (session.erased) throw new AppError('session_erased', `session ${JSON.stringify(id)} was erased`)
    return session
  }

  /** Throws session_exists. Without an id, generates one. */
  async create(
    wanted: Omit<queries.NewSession, 'id'> & { id?: string },
    by: queries.Caller = NO_CALLER,
  ): Promise<Session> {
    const id = wanted.id ?? `ses_${randomBytes(12).toString('base64url')}`
    if (!(await queries.createSession(this.#db, { ...wanted, id }, by)))
      throw new AppError('session_exists', `the session ${JSON.stringify(id)} exists already`)
    this.#onChanged()
    return this.get(wanted.tenantId, id)
  }

  /** Throws session_not_found, session_erased, expected_version_conflict, invalid_metadata (too large once merged). */
  async patch(
    tenantId: string,
    id: string,
    patch: queries.SessionPatch,
    by: queries.Caller = NO_CALLER,
  ): Promise<Session> {
    const result = await queries.patchSession(this.#db, tenantId, id, patch, this.#maxMetadataBytes, by)
    if (result === undefined) throw notFound(id)
    this.#onChanged()
    const session = await this.get(tenantId, id)
    if (!result.matched)
      throw new AppError(
        'expected_version_conflict',
        `expected_version is ${patch.expectedVersion}, the session is at ${result.version}`,
        { current_version: result.version },
      )
    if (!result.fits)
      throw new AppError(
        'invalid_metadata',
        `metadata must be at most ${this.#maxMetadataBytes} bytes of JSON once merged`,
        { field: 'metadata', max_bytes: this.#maxMetadataBytes },
      )
    return session
  }

  /** Idempotent. Hides the session from the default list, or shows it again. */
  async setArchived(
    tenantId: string,
    id: string,
    archived: boolean,
    by: queries.Caller = NO_CALLER,
  ): Promise<Session> {
    await queries.setArchived(this.#db, tenantId, id, archived, by)
    this.#onChanged()
    return this.get(tenantId, id)
  }

  async list(list: queries.SessionList): Promise<SessionPage> {
    const { sessions, hasMore } = await queries.listSessions(this.#db, list)
    return { sessions, nextCursor: hasMore ? (sessions.at(-1)?.id ?? null) : null }
  }
}

const notFound = (id: string) =>
  new AppError('session_not_found', `there is no session ${JSON.stringify(id)}`)
