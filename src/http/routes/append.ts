import type Router from '@koa/router'
import { renderAppended } from '../appended.ts'
import { bodyKind } from '../body.ts'
import { answerJson, bodyOf, type Services, type State, sessionId } from '../context.ts'
import { allow } from '../middleware.ts'
import { parseBatch, parseEvent } from '../parseEvents.ts'

export function appendRoutes(router: Router, services: Services): void {
  const { appends, config } = services
  const { limits } = config
  router.post('/v1/sessions/:id/append', allow('session:append'), async (ctx) => {
    const { principal } = ctx.state as State
    bodyKind(ctx.req, ['json'])
    const text = await bodyOf(ctx, limits.eventBytes, services)
    const result = await appends.append({
      tenantId: principal.tenantId,
      sessionId: sessionId(ctx),
      events: [parseEvent(text, principal, limits)],
      isBatch: false,
      bytes: text.length,
    })
    answerJson(ctx, 201, renderAppended(result))
  })

  router.post('/v1/sessions/:id/events', allow('session:append'), async (ctx) => {
    const { principal } = ctx.state as State
    const kind = bodyKind(ctx.req, ['json', 'ndjson'])
    const text = await bodyOf(ctx, limits.batchBytes, services)
    const { results, lastSeq } = await appends.append({
      tenantId: principal.tenantId,
      sessionId: sessionId(ctx),
      events: await parseBatch(text, kind, principal, limits),
      isBatch: true,
      bytes: text.length,
    })
    const cursor = results.at(-1)?.seq ?? lastSeq
    answerJson(ctx, 201, JSON.stringify({ results, last_seq: lastSeq, cursor, committed_cursor: lastSeq }))
  })
}
