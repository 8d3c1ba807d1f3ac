import type { Context } from 'koa'
import type { MemoryBudget } from '../lib/memoryBudget.ts'
import { AppError } from '../protocol/errors.ts'
import { holderOf, type State } from './context.ts'

/** Answers to appends, and refusals, are shorter: they are bounded by how many connections there are. */
const SHORT_BYTES = 1024

/**
 * Memory for an answer that is complete, whoever is to read it, until its last byte has left this process; a peer that
 * takes nothing is cut (see server.ts). Throws overloaded.
 */
export function holdUntilWritten(ctx: Context, answers: MemoryBudget): void {
  const length = ctx.respond === false ? 0 : (ctx.length ?? 0)
  if (length > SHORT_BYTES) holdAnswer(ctx, answers, length)
  const { answer } = ctx.state as State
  // Where the client went away while its answer was made, the response is closed already, and will not say so again.
  if (ctx.res.closed) answer?.close()
  else if (answer) ctx.res.once('close', () => answer.close())
}

/** Memory for what is there of an answer so far. Throws overloaded. */
export function holdAnswer(ctx: Context, answers: MemoryBudget, bytes: number): void {
  const state = ctx.state as State
  state.answer ??= answers.open(holderOf(ctx))
  if (!state.answer.resize(bytes))
    throw new AppError('overloaded', 'the memory for responses is full; send the request again later', {
      retry_after_ms: 1000,
    })
}
