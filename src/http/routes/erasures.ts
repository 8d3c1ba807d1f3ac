import type Router from '@koa/router'
import type { Context } from 'koa'
import { requireSession } from '../../auth/access.ts'
import { AppError } from '../../protocol/errors.ts'
import type { Erasure, ErasureRequest } from '../../sessions/erasure/queries.ts'
import { renderReceipt } from '../../sessions/erasure/receipt.ts'
import { bodyKind } from '../body.ts'
import { answerJson, bodyOf, type Services, type State, sessionId } from '../context.ts'
import { parseObject, refuseUnstorable } from '../json.ts'
import { allow } from '../middleware.ts'
import { ErasureBody } from '../schemas.ts'
import { validator } from '../validate.ts'

const MEMBERS = Object.keys(ErasureBody.properties)
const checkBody = validator(ErasureBody, 'invalid_erasure')

export function erasureRoutes(router: Router, services: Services): void {
  const { config, erasures } = services
  const mayErase = allow(config.eraseScope)

  router.delete('/v1/sessions/:id', mayErase, async (ctx) => {
    answer(ctx, await erasures.eraseSession(await request(ctx, services)))
  })

  router.post('/v1/sessions/:id/events/:seq/redact', mayErase, async (ctx) => {
    const wanted = await request(ctx, services)
    answer(ctx, await erasures.redactEvent(wanted, seqOf(ctx.params.seq)))
  })

  router.get('/v1/erasures/:erasure', mayErase, async (ctx) => {
    const { principal } = ctx.state as State
    const erasure = await erasures.get(principal.tenantId, ctx.params.erasure ?? '')
    requireSession(principal, erasure.sessionId)
    answerJson(ctx, 200, renderReceipt(erasure))
  })
}

async function request(ctx: Context, services: Services): Promise<ErasureRequest> {
  const { principal, requestId } = ctx.state as State
  const id = sessionId(ctx)
  bodyKind(ctx.req, ['json'])
  const text = await bodyOf(ctx, services.config.limits.eventBytes, services)
  const body = checkBody(parseObject(text.trim() === '' ? '{}' : text, MEMBERS, 'invalid_erasure').value)
  refuseUnstorable(body, ['reason'], 'invalid_erasure')
  return {
    tenantId: principal.tenantId,
    sessionId: id,
    subject: principal.actor,
    requestId,
    reason: body.reason ?? null,
    vacuum: body.vacuum ?? false,
  }
}

/** One that no event can have is not found, before Postgres hears of it. */
function seqOf(text: string | undefined): number {
  const seq = /^[1-9]\d{0,15}$/.test(text ?? '') ? Number(text) : Number.NaN
  if (seq <= Number.MAX_SAFE_INTEGER) return seq
  throw new AppError('event_not_found', `the session has no event ${JSON.stringify(text?.slice(0, 32))}`)
}

/** 202 for as long as something is still to be removed, of which the place tells. */
function answer(ctx: Context, erasure: Erasure): void {
  ctx.set('Location', `/v1/erasures/${erasure.id}`)
  answerJson(ctx, erasure.isDone ? 200 : 202, renderReceipt(erasure))
}
