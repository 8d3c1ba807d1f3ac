import { requireSession } from '../../auth/access.ts'
import type { Principal } from '../../auth/principal.ts'
import { AppError } from '../../protocol/errors.ts'
import { renderSession } from '../../sessions/session.ts'
import { callerOf, sendJson } from '../context.ts'
import { Session, SessionPage } from '../contract/session.ts'
import { METADATA_FILTER } from '../metadataFilter.ts'
import { type Answer, type Call, json, operation } from '../operation.ts'
import { choiceInQuery, LIMIT, textInQuery } from '../parameters.ts'
import { NEW_SESSION, SESSION_PATCH } from '../sessionBodies.ts'
import { badSessionId } from '../sessionId.ts'

const shown: Answer = json('The session as it is now.', Session)

const create = operation({
  method: 'post',
  path: '/v1/sessions',
  id: 'createSession',
  tag: 'sessions',
  summary: 'Create a session',
  description:
    'Without `id` the node generates one. With authentication the creator is the principal of the token, and `creator_principal` is ignored.',
  scope: 'session:create',
  body: NEW_SESSION,
  answers: {
    201: json('The session was created.', Session, 'Location'),
  },
  errors: ['forbidden_session', 'session_exists', 'session_erased'],
  async handle({ ctx, body: { creator, ...body }, principal, services }) {
    // Without an id the node generates one, which the lock of a token cannot name.
    requireSession(principal, body.id ?? '')
    const session = await services.sessions.create(
      { ...body, tenantId: principal.tenantId, creatorPrincipal: renderPrincipal(principal) ?? creator },
      callerOf(ctx),
    )
    ctx.set('Location', `/v1/sessions/${encodeURIComponent(session.id)}`)
    sendJson(ctx, 201, renderSession(session))
  },
})

const list = operation({
  method: 'get',
  path: '/v1/sessions',
  id: 'listSessions',
  tag: 'sessions',
  summary: 'List sessions',
  description:
    'In ascending bytewise order of their ids. A token that is locked to a session sees only that one.',
  scope: 'session:read',
  parameters: {
    limit: LIMIT,
    cursor: textInQuery('invalid_cursor', 'The last id seen; the page begins after it, in bytewise order.'),
    archived: choiceInQuery(
      'invalid_list_query',
      ['false', 'true', 'all'],
      'false',
      'Whether to list sessions that are not archived, those that are, or all.',
    ),
    metadata: METADATA_FILTER,
  },
  answers: { 200: json('A page of sessions.', SessionPage) },
  errors: [],
  async handle({ ctx, parameters: { archived, cursor, limit, metadata }, principal, services }) {
    const problem = cursor === undefined ? undefined : badSessionId(cursor)
    if (problem !== undefined)
      throw new AppError('invalid_cursor', `cursor must be a session id: it ${problem}`, { field: 'cursor' })
    const page = await services.sessions.list({
      tenantId: principal.tenantId,
      only: principal.sessionId,
      after: cursor,
      limit,
      archived: archived === 'all' ? 'all' : archived === 'true',
      filters: metadata,
    })
    const sessions = page.sessions.map(renderSession).join(',')
    sendJson(ctx, 200, `{"sessions":[${sessions}],"next_cursor":${JSON.stringify(page.nextCursor)}}`)
  },
})

const get = operation({
  method: 'get',
  path: '/v1/sessions/:id',
  id: 'getSession',
  tag: 'sessions',
  summary: 'Show a session',
  scope: 'session:read',
  answers: { 200: shown },
  errors: [],
  async handle({ ctx, path, principal, services }) {
    sendJson(ctx, 200, renderSession(await services.sessions.get(principal.tenantId, path.id)))
  },
})

const update = operation({
  method: 'patch',
  path: '/v1/sessions/:id',
  id: 'updateSession',
  tag: 'sessions',
  summary: 'Change title or metadata',
  description:
    'Members of `metadata` replace those of the same name and leave the others. `title: null` clears the title.',
  scope: 'session:create',
  body: SESSION_PATCH,
  answers: { 200: shown },
  errors: ['expected_version_conflict'],
  async handle({ ctx, body, path, principal, services }) {
    const session = await services.sessions.patch(principal.tenantId, path.id, body, callerOf(ctx))
    sendJson(ctx, 200, renderSession(session))
  },
})

const archive = operation({
  method: 'post',
  path: '/v1/sessions/:id/archive',
  id: 'archiveSession',
  tag: 'sessions',
  summary: 'Hide a session from the default list',
  scope: 'session:create',
  answers: { 200: shown },
  errors: [],
  handle: (call) => setArchived(call, true),
})

const unarchive = operation({
  method: 'post',
  path: '/v1/sessions/:id/unarchive',
  id: 'unarchiveSession',
  tag: 'sessions',
  summary: 'Show an archived session in the default list again',
  scope: 'session:create',
  answers: { 200: shown },
  errors: [],
  handle: (call) => setArchived(call, false),
})

export const SESSIONS = [create, list, get, update, archive, unarchive]

async function setArchived(call: Call<'/v1/sessions/:id'>, archived: boolean): Promise<void> {
  const { ctx, path, principal, services } = call
  const session = await services.sessions.setArchived(principal.tenantId, path.id, archived, callerOf(ctx))
  sendJson(ctx, 200, renderSession(session))
}

/** The creator as `creator_principal` shows it. Undefined without authentication, when the body names the creator. */
function renderPrincipal({ tenantId, actor, kind }: Principal): string | undefined {
  return actor === null ? undefined : JSON.stringify({ tenant_id: tenantId, id: actor, type: kind })
}
