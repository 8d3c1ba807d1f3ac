import { ArrayMember } from '../lib/jsonMembers.ts'
import { AppError } from '../protocol/errors.ts'
import type { Seq } from '../protocol/event.ts'
import { parseObject, valueAt } from './json.ts'
import { TailStart } from './schemas.ts'
import { validator } from './validate.ts'

export interface TailRequest {
  readonly sessionId: string
  readonly cursor: Seq
  /** `inserted_at` of the event at the cursor; undefined when it was not given. */
  readonly seenAt: string | undefined
}

const MEMBERS = Object.keys(TailStart.properties)
const checkTail = validator(TailStart, 'invalid_tails')

/** Parses the body of `POST /v1/tails`. Throws invalid_json, invalid_tails. */
export function parseTails(text: string, maxTails: number): TailRequest[] {
  const member = new ArrayMember('tails', maxTails)
  parseObject(text, [member.name], 'invalid_tails', '', {}, member)
  const { count, spans } = member.elements ?? { count: 0, spans: [] }
  if (count === 0)
    throw new AppError('invalid_tails', 'tails must be an array with at least one tail', { field: 'tails' })
  if (count > maxTails)
    throw new AppError('invalid_tails', `tails has ${count} tails; at most ${maxTails} are allowed`, {
      field: 'tails',
      max_tails: maxTails,
    })
  const seen = new Set<string>()
  return spans.map((span, index) => {
    const {
      session_id: sessionId,
      cursor = 0,
      cursor_inserted_at: seenAt,
    } = checked(valueAt(text, span, MEMBERS), index)
    if (seen.has(sessionId))
      throw new AppError('invalid_tails', `tails[${index}]: session_id is given more than once`, {
        field: 'session_id',
        index,
      })
    seen.add(sessionId)
    return { sessionId, cursor, seenAt }
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
