import { AppError } from '../protocol/errors.ts'
import type { Seq } from '../protocol/event.ts'
import { parseObject } from './json.ts'
import { TailStart } from './schemas.ts'
import { validator } from './validate.ts'

export interface WantedTail {
  readonly sessionId: string
  readonly cursor: Seq
}

const checkTail = validator(TailStart, 'invalid_tails', { integers: ['cursor'] })

/** The tails of a request for many. Throws invalid_json, invalid_tails. */
export function parseTails(text: string, maxTails: number): WantedTail[] {
  const { tails } = parseObject(text, 'invalid_tails').value
  if (!Array.isArray(tails) || tails.length === 0)
    throw new AppError('invalid_tails', 'tails must be an array of at least one tail', { field: 'tails' })
  if (tails.length > maxTails)
    throw new AppError('invalid_tails', `tails must have at most ${maxTails} tails, it has ${tails.length}`, {
      field: 'tails',
      max_tails: maxTails,
    })
  const seen = new Set<string>()
  return tails.map((tail: unknown, index) => {
    const { session_id: sessionId, cursor = 0 } = checked(tail, index)
    if (seen.has(sessionId))
      throw new AppError('invalid_tails', `tails[${index}]: session_id is that of an earlier tail`, {
        field: 'session_id',
        index,
      })
    seen.add(sessionId)
    return { sessionId, cursor }
  })
}

function checked(tail: unknown, index: number): ReturnType<typeof checkTail> {
  try {
    return checkTail(tail, `tails[${index}]: `)
  } catch (error) {
    if (error instanceof AppError) throw new AppError(error.code, error.message, { ...error.details, index })
    throw error
  }
}
