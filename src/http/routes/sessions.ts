import type { ParsedUrlQuery } from 'node:querystring'
import type Router from '@koa/router'
import { requireSession } from '../../auth/access.ts'
import type { Principal } from '../../auth/principal.ts'
import { unstorable } from '../../lib/jsonScanner.ts'
import { AppError } from '../../protocol/errors.ts'
import type { SessionPatch as Patch, SessionList } from '../../sessions/queries.ts'
import { renderSession } from '../../sessions/session.ts'
import { bodyKind } from '../body.ts'
import { MAX_METADATA_FILTERS, PAGE } from '../bounds.ts'
import {
  answerJson,
  badNewSessionId,
  badSessionId,
  bodyOf,
  callerOf,
  type Services,
  type State,
  sessionId,
} from '../context.ts'
import { innerValue, keptText, parseObject, refuseLong, refuseUnstorable } from '../json.ts'
import { allow } from '../middleware.ts'
import { choice, integer, one } from '../query.ts'
import { CreatorPrincipal, NewSession, SessionPatch } from '../schemas.ts'
import { validator } from '../validate.ts'

const NEW_MEMBERS = Object.keys(NewSession.properties)
const CREATOR_MEMBERS = Object.keys(CreatorPrincipal.properties)
const PATCH_MEMBERS = Object.keys(SessionPatch.properties)
const checkNew = validator(NewSession, 'invalid_session')
const checkPatch = validator(SessionPatch, 'invalid_session', {
  nullable: ['title'],
  integers: ['expected_version'],
})

export function sessionRoutes(router: Router, services: Services): void {
  const { sessions, config } = services
  const { limits } = config
  router.post('/v1/sessions', allow('session:create'), async (ctx) => {
    const { principal } = ctx.state as State
    bodyKind(ctx.req, ['json'])
    const text = await bodyOf(ctx, limits.eventBytes, services)
    const object = parseObject(text.trim() === '' ? '{}' : text, NEW_MEMBERS, 'invalid_session')
    if (object.members.has('creator_principal'))
      object.value.creator_principal = innerValue(object, 'creator_principal', CREATOR_MEMBERS)
    const body = checkNew(object.value)
    refuseUnstorable(body, ['title'], 'invalid_session')
    const problem = body.id === undefined ? undefined : badNewSessionId(body.id)
    if (problem) throw new AppError('invalid_session', `id ${problem}`, { field: 'id' })
    // Without an id one is made, which is no session that a lock can name.
    requireSession(principal, body.id ?? '')
    const metadata = keptText(object, 'metadata', 'invalid_metadata')
    refuseLong(metadata, limits.sessionMetadataBytes, 'metadata', 'invalid_metadata')
    const creator = keptText(object, 'creator_principal', 'invalid_session')
    refuseLong(creator, limits.sessionMetadataBytes, 'creator_principal', 'invalid_session')
    const session = await sessions.create(
      {
        tenantId: principal.tenantId,
        ...(body.id === undefined ? {} : { id: body.id }),
        title: body.title ?? null,
        metadata: metadata ?? '{}',
        creatorPrincipal: renderPrincipal(principal) ?? creator ?? null,
      },
      callerOf(ctx),
    )
    ctx.set('Location', `/v1/sessions/${encodeURIComponent(session.id)}`)
    answerJson(ctx, 201, renderSession(session))
  })

  router.get('/v1/sessions', allow('session:read'), async (ctx) => {
    const { principal } = ctx.state as State
    const page = await sessions.list({
      tenantId: principal.tenantId,
      only: principal.sessionId,
      ...parseList(ctx.query),
    })
    const list = page.sessions.map(renderSession).join(',')
    answerJson(ctx, 200, `{"sessions":[${list}],"next_cursor":${JSON.stringify(page.nextCursor)}}`)
  })

  router.get('/v1/sessions/:id', allow('session:read'), async (ctx) => {
    const { principal } = ctx.state as State
    answerJson(ctx, 200, renderSession(await sessions.get(principal.tenantId, sessionId(ctx))))
  })

  router.patch('/v1/sessions/:id', allow('session:create'), async (ctx) => {
    const { principal } = ctx.state as State
    bodyKind(ctx.req, ['json'])
    const text = await bodyOf(ctx, limits.eventBytes, services)
    const patch = parsePatch(text)
    const session = await sessions.patch(principal.tenantId, sessionId(ctx), patch, callerOf(ctx))
    answerJson(ctx, 200, renderSession(session))
  })

  for (const [verb, archived] of [
    ['archive', true],
    ['unarchive', false],
  ] as const) {
    router.post(`/v1/sessions/:id/${verb}`, allow('session:create'), async (ctx) => {
      const { principal } = ctx.state as State
      const session = await sessions.setArchived(principal.tenantId, sessionId(ctx), archived, callerOf(ctx))
      answerJson(ctx, 200, renderSession(session))
    })
  }
}

/** As `creator_principal` shows it. Undefined without authentication: then it is what the body says. */
function renderPrincipal({ tenantId, actor, kind }: Principal): string | undefined {
  return actor === null ? undefined : JSON.stringify({ tenant_id: tenantId, id: actor, type: kind })
}

function parsePatch(text: string): Patch {
  const object = parseObject(text, PATCH_MEMBERS, 'invalid_session')
  const body = checkPatch(object.value)
  refuseUnstorable(body, ['title'], 'invalid_session')
  const metadata = keptText(object, 'metadata', 'invalid_metadata')
  if (body.title === undefined && metadata === undefined)
    throw new AppError('invalid_session', 'the body must have title or metadata: there is nothing to change')
  return {
    ...(body.title === undefined ? {} : { title: body.title }),
    ...(metadata === undefined ? {} : { metadata }),
    ...(body.expected_version === undefined ? {} : { expectedVersion: body.expected_version }),
  }
}

function parseList(query: ParsedUrlQuery): Omit<SessionList, 'tenantId' | 'only'> {
  const archived = choice(query, 'archived', 'invalid_list_query', ['false', 'true', 'all']) ?? 'false'
  const after = one(query, 'cursor', 'invalid_cursor')
  if (after !== undefined && badSessionId(after) !== undefined)
    throw new AppError('invalid_cursor', `cursor must be a session id: it ${badSessionId(after)}`, {
      field: 'cursor',
    })
  return {
    after,
    limit: integer(query, 'limit', 'invalid_limit', { min: 1, max: PAGE.max }) ?? PAGE.default,
    archived: archived === 'all' ? 'all' : archived === 'true',
    filters: parseFilters(query),
  }
}

/** `metadata.K=V` and `metadata[K]=V`: for each, the JSON texts of which the metadata must contain one. */
function parseFilters(query: ParsedUrlQuery): string[][] {
  const filters: string[][] = []
  for (const [name, values] of Object.entries(query)) {
    if (!/^metadata($|[.[])/.test(name)) continue
    const match = /^metadata(?:\.(.+)|\[(.+)\])$/s.exec(name)
    const key = match?.[1] ?? match?.[2]
    if (key === undefined)
      throw new AppError('invalid_list_query', `${name} names no key: write metadata.K=V or metadata[K]=V`, {
        field: name,
      })
    for (const value of [values ?? ''].flat()) filters.push(alternatives(key, value, name))
  }
  if (filters.length > MAX_METADATA_FILTERS)
    throw new AppError('invalid_list_query', `at most ${MAX_METADATA_FILTERS} metadata filters are taken`)
  return filters
}

function alternatives(key: string, value: string, field: string): string[] {
  const asString = `{${JSON.stringify(key)}:${JSON.stringify(value)}}`
  const problem = unstorable(asString)
  if (problem) throw new AppError('invalid_list_query', `${field} cannot match: ${problem.reason}`, { field })
  // V also stands for the number or boolean that it spells.
  const isLiteral = /^(true|false|-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?)$/.test(value)
  const asLiteral = `{${JSON.stringify(key)}:${value}}`
  return isLiteral && unstorable(asLiteral) === undefined ? [asString, asLiteral] : [asString]
}
