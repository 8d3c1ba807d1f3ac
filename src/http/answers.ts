import type { Context, Middleware } from 'koa'
import type { MemoryBudget } from '../lib/memoryBudget.ts'
import { AppError } from '../protocol/errors.ts'
import { holderOf, type State } from './context.ts'

/** Answers to appends, and refusals, are shorter: they are bounded by how many connections there are. */
const SHORT_BYTES = 1024

/**
 * A bound for answers that wait to be written, whoever is to read them: what is beyond it is answered `overloaded`. An
 * answer is held until its last byte has left this process; a peer that takes nothing is cut (see server.ts).
 */
export function boundAnswers(answers: MemoryBudget): Middleware {
  return async (ctx, next) => {
    try {
      await next()
      const length = ctx.respond === false ? 0 : (ctx.length ?? 0)
      if (length > SHORT_BYTES) holdAnswer(ctx, answers, length)
    } catch (error) {
      ;(ctx.state as State).answer?.close()
      throw error
    }
    const { answer } = ctx.state as State
    if (answer) ctx.res.once('close', () => answer.close())
  }
}

/** Memory for what is there of an answer, or all of it, so far. Throws overloaded. */
export function holdAnswer(ctx: Context, answers: MemoryBudget, bytes: number): void {
  const state = ctx.state as State
  state.answer ??= answers.open(holderOf(ctx))
  if (!state.answer.resize(bytes))
    throw new AppError('overloaded', 'this node has as many answers to write as it has memory for', {
      retry_after_ms: 1000,
    })
}
