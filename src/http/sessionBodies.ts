import { AppError } from '../protocol/errors.ts'
import type { SessionPatch as Patch } from '../sessions/queries.ts'
import { assertMaxBytes, assertStorable, keptText } from './json.ts'
import { jsonBody } from './requestBody.ts'
import { NewSession, SessionPatch } from './schemas.ts'
import { badNewSessionId } from './sessionId.ts'

/** The body that creates a session. Its JSON objects are kept as the text that was sent. */
export const NEW_SESSION = jsonBody({
  schema: NewSession,
  error: 'invalid_session',
  errors: ['invalid_metadata'],
  read({ id, title }, object, { config }) {
    const maxBytes = config.limits.sessionMetadataBytes
    assertStorable({ title }, ['title'], 'invalid_session')
    const problem = id === undefined ? undefined : badNewSessionId(id)
    if (problem) throw new AppError('invalid_session', `id ${problem}`, { field: 'id' })
    const metadata = keptText(object, 'metadata', 'invalid_metadata')
    assertMaxBytes(metadata, maxBytes, 'metadata', 'invalid_metadata')
    const creator = keptText(object, 'creator_principal', 'invalid_session')
    assertMaxBytes(creator, maxBytes, 'creator_principal', 'invalid_session')
    return {
      ...(id === undefined ? {} : { id }),
      title: title ?? null,
      metadata: metadata ?? '{}',
      creator: creator ?? null,
    }
  },
})

/** The body that updates a session. */
export const SESSION_PATCH = jsonBody({
  schema: SessionPatch,
  required: true,
  error: 'invalid_session',
  errors: ['invalid_metadata'],
  read({ title, expected_version: expectedVersion }, object): Patch {
    assertStorable({ title }, ['title'], 'invalid_session')
    const metadata = keptText(object, 'metadata', 'invalid_metadata')
    if (title === undefined && metadata === undefined)
      throw new AppError('invalid_session', 'the body must have title or metadata')
    return {
      ...(title === undefined ? {} : { title }),
      ...(metadata === undefined ? {} : { metadata }),
      ...(expectedVersion === undefined ? {} : { expectedVersion }),
    }
  },
})
