import { AppError } from '../protocol/errors.ts'
import type { AppendRequest, AppendResult } from './newEvent.ts'
import type { OutcomeRow } from './queries.ts'

/** Converts the rows of a request to its result, or to the error of its refused event. */
export function toResult(request: AppendRequest, rows: readonly OutcomeRow[]): AppendResult | AppError {
  const refused = rows.findIndex(
    (row) => row.outcome !== 'appended' && row.outcome !== 'deduped' && row.outcome !== 'batch_refused',
  )
  if (refused !== -1) return toError(request, rows, refused)
  return {
    results: rows.map((row) => ({ seq: row.seq, deduped: row.outcome === 'deduped' })),
    lastSeq: rows[rows.length - 1]?.lastSeq ?? 0,
  }
}

function toError(request: AppendRequest, rows: readonly OutcomeRow[], index: number): AppError {
  const row = rows[index] as OutcomeRow
  const event = request.events[index]
  const where = request.isBatch ? { index } : {}
  const prefix = request.isBatch ? `events[${index}]: ` : ''
  const { outcome } = row
  switch (outcome) {
    case 'session_not_found':
      return new AppError(outcome, `there is no session ${JSON.stringify(request.sessionId)}`)
    case 'session_erased':
      return new AppError(outcome, `session ${JSON.stringify(request.sessionId)} was erased`)
    case 'expected_seq_conflict':
      return new AppError(outcome, `${prefix}expected_seq does not match: the session is at ${row.lastSeq}`, {
        current_seq: row.lastSeq,
        ...where,
      })
    case 'producer_seq_conflict':
      return new AppError(
        outcome,
        `${prefix}producer_seq is ${event?.producerSeq}; producer ${JSON.stringify(event?.producerId)} must send ${row.expected} next`,
        { expected_producer_seq: row.expected, ...where },
      )
    case 'producer_replay_conflict':
      return new AppError(
        outcome,
        `${prefix}producer_seq ${event?.producerSeq} of producer ${JSON.stringify(event?.producerId)} was already used for a different event`,
        where,
      )
    case 'appended':
    case 'deduped':
    case 'batch_refused':
      return new AppError('internal_error', `an event with the outcome ${outcome} was treated as refused`)
    default:
      return outcome satisfies never
  }
}
