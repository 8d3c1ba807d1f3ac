import type { Context, Middleware } from 'koa'
import { AppError } from '../protocol/errors.ts'
import type { State } from './context.ts'
import type { Serve } from './enter.ts'
import type { Operation } from './operation.ts'
import { type Found, Router } from './router.ts'

/** Serves each operation at its method and path, and GET also as HEAD. Throws not_found and method_not_allowed. */
export function routes(operations: readonly Operation[], serve: (operation: Operation) => Serve): Middleware {
  const router = new Router<Serve>()
  for (const operation of operations) {
    const method = operation.method.toUpperCase()
    router.add(method === 'GET' ? ['HEAD', 'GET'] : [method], operation.path, serve(operation))
  }
  return (ctx) => {
    const found = router.find(ctx.path)
    const handler = found?.handlers.get(ctx.method)
    if (found === undefined || handler === undefined) throw refusal(ctx, found)
    ;(ctx.state as State).route = found.path
    return handler(ctx, found.parameters)
  }
}

function refusal(ctx: Context, found: Found<Serve> | undefined): AppError {
  if (found === undefined) return new AppError('not_found', `the path ${ctx.path} does not exist`)
  const methods = [...found.handlers.keys()].join(', ')
  ctx.set('Allow', methods)
  return new AppError('method_not_allowed', `${ctx.method} is not allowed here; allowed: ${methods}`)
}
