import type { Context } from 'koa'
import { requireScope, requireService, requireSession } from '../auth/access.ts'
import { ANYONE, type Principal } from '../auth/principal.ts'
import { AppError } from '../protocol/errors.ts'
import { bodyKind } from './body.ts'
import { bodyOf, type Services, type State } from './context.ts'
import { type Call, type Operation, scopeOf } from './operation.ts'
import type { Parameters } from './parameters.ts'
import { namesIn, PATH_PARAMETERS } from './pathParameters.ts'
import type { RequestBody } from './requestBody.ts'
import { findToken } from './token.ts'
import { upgrades } from './transports/easyWs.ts'
import { isEventStream } from './transports/eventStream.ts'
import { assertHandshake, type UpgradeContext } from './transports/upgrade.ts'

type PathTexts = Readonly<Record<string, string>>
/** Serves one request of an operation; `path` has the percent-decoded parameters of its path. */
export type Serve = (ctx: Context, path: PathTexts) => unknown

/**
 * Serves an operation. Before its handler it checks, in this order: the handshake, the token, the tenant's rate limit, the scope
 * and the session lock of the token, the path, the parameters and the body. Each check throws an AppError.
 */
export function enter(operation: Operation, services: Services, node: Call['node']): Serve {
  const { eventStream, parameters = {}, webSocket } = operation
  const admit = admission(operation, services)
  const readPath = pathReader(operation.path)
  const readParameters = parameterReader(parameters)
  const readBody = bodyReader(operation.body, services)
  const serve = async (ctx: UpgradeContext, pathTexts: PathTexts) => {
    if (webSocket && !(eventStream && isEventStream(ctx))) assertHandshake(ctx)
    const principal = await admit(ctx, pathTexts)
    if (principal === undefined) return
    const path = readPath(pathTexts)
    const values = readParameters(ctx)
    const body = readBody && (await readBody(ctx, principal))
    await operation.handle({ ctx, services, node, principal, path, parameters: values, body } as Call)
  }
  if (webSocket === undefined) return serve
  const upgrade = upgrades(webSocket.maxMessageBytes(services.config))
  return (ctx, pathTexts) => upgrade(ctx as never, () => serve(ctx, pathTexts))
}

/** Authenticates and authorizes a request, and puts its principal in `ctx.state`. Undefined: the request was rejected and answered. */
function admission(operation: Operation, services: Services) {
  const { servicesOnly, tokenParameter, webSocket } = operation
  const { authenticator, config, requestQuota } = services
  const scope = scopeOf(operation, config)
  const own = webSocket?.authentication
  if (scope === undefined && own === undefined) return () => ANYONE
  const authenticate = async (ctx: UpgradeContext): Promise<Principal> => {
    const principal = await authenticator.authenticate(own ? own.token(ctx) : findToken(ctx, tokenParameter))
    ;(ctx.state as State).principal = principal
    // Before the request costs anything else.
    if (requestQuota) await requestQuota.take(principal.tenantId)
    return principal
  }
  if (own)
    return (ctx: UpgradeContext) => authenticate(ctx).catch((error) => refuse(error, () => own.refuse(ctx)))
  return async (ctx: UpgradeContext, { id }: PathTexts): Promise<Principal> => {
    const principal = await authenticate(ctx)
    if (servicesOnly) requireService(principal)
    else requireScope(principal, scope as NonNullable<typeof scope>)
    if (id !== undefined) requireSession(principal, id)
    return principal
  }
}

function refuse(error: unknown, answer: () => void): undefined {
  if (!(error instanceof AppError && error.code === 'unauthorized')) throw error
  answer()
}

function pathReader(path: string) {
  const names = namesIn(path)
  return (texts: PathTexts) =>
    Object.fromEntries(names.map((name) => [name, PATH_PARAMETERS[name].read(texts[name] ?? '')]))
}

function parameterReader(parameters: Parameters) {
  const entries = Object.entries(parameters)
  return (ctx: Context) => Object.fromEntries(entries.map(([name, { read }]) => [name, read(ctx, name)]))
}

function bodyReader(body: RequestBody | undefined, services: Services) {
  if (body === undefined) return undefined
  const { config } = services
  const maxBytes = body.maxBytes(config)
  return async (ctx: Context, principal: Principal) => {
    const kind = bodyKind(ctx.req, body.kinds)
    return body.parse(await bodyOf(ctx, maxBytes, services), { kind, principal, config })
  }
}
