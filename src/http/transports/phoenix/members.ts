import { scanMembers } from '../../../lib/jsonMembers.ts'
import { AppError, type ErrorCode } from '../../../protocol/errors.ts'
import { valuesOf } from '../../json.ts'

const NAMES = ['cursor', 'cursor_inserted_at', 'cursor_at', 'batch_size', 'token']

/** The known members in the payload of a join or a renewal; none when it is not an object. */
export function membersOf(payloadText: string): Readonly<Record<string, unknown>> {
  const members = scanMembers(payloadText, NAMES)
  return members ? valuesOf(payloadText, members) : {}
}

/** An integer member of a join, which may be a decimal string; undefined when it is absent or null. */
export function integerMember(
  payload: Readonly<Record<string, unknown>>,
  name: string,
  min: number,
  max: number,
  code: ErrorCode,
): number | undefined {
  const given = payload[name] ?? undefined
  if (given === undefined) return undefined
  const value = typeof given === 'string' && /^\d{1,16}$/.test(given) ? Number(given) : given
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value
  throw new AppError(code, `${name} must be an integer from ${min} to ${max}`, { field: name })
}

export const cursorMember = (payload: Readonly<Record<string, unknown>>, name: string): number | undefined =>
  integerMember(payload, name, 0, Number.MAX_SAFE_INTEGER, 'invalid_cursor')
