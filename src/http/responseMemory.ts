import type { Context } from 'koa'
import type { MemoryBudget } from '../lib/memoryBudget.ts'
import { AppError } from '../protocol/errors.ts'
import { holderOf, type State } from './context.ts'

/** Shorter responses are not counted: appends and errors, which the number of connections bounds. */
const SHORT_BYTES = 1024

/**
 * Reserves memory for a complete response until its last byte has left this process. A peer that reads nothing is cut (see
 * server.ts). Throws overloaded.
 */
export function holdUntilSent(ctx: Context, budget: MemoryBudget): void {
  const length = ctx.respond === false ? 0 : (ctx.length ?? 0)
  if (length > SHORT_BYTES) reserveResponse(ctx, budget, length)
  const { responseMemory } = ctx.state as State
  // When the client went away while its response was made, `close` was emitted before and comes no more.
  if (ctx.res.closed) responseMemory?.close()
  else if (responseMemory) ctx.res.once('close', () => responseMemory.close())
}

/** Reserves memory for the part of a response that exists so far. Throws overloaded. */
export function reserveResponse(ctx: Context, budget: MemoryBudget, bytes: number): void {
  const state = ctx.state as State
  state.responseMemory ??= budget.open(holderOf(ctx))
  if (!state.responseMemory.resize(bytes))
    throw new AppError('overloaded', 'the memory for responses is full; send the request again later', {
      retry_after_ms: 1000,
    })
}
