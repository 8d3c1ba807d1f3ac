import { StarciteError } from './errors.ts'

/** The JSON text of an event that is given as an object or as text. `numbered`: it may have producer fields. */
export function eventText(event: object | string, { numbered }: { numbered: boolean }): string {
  const text = typeof event === 'string' ? event.trim() : JSON.stringify(event)
  const members = (typeof event === 'string' ? parse(text) : event) as Record<string, unknown> | null
  const isObject = typeof members === 'object' && members !== null && !Array.isArray(members)
  if (!isObject || members.type === undefined)
    throw new StarciteError('invalid_event', 'an event must be an object with a type and a payload')
  if (!numbered && ((members.producer_id ?? null) !== null || (members.producer_seq ?? null) !== null))
    throw new StarciteError('invalid_event', 'remove the producer fields: the outbox sets them')
  return text
}

/** Whether the event has producer fields, so that sending it again does not store it twice. */
export function isNumbered(text: string): boolean {
  const { producer_id, producer_seq } = parse(text) as Record<string, unknown>
  return (producer_id ?? null) !== null && (producer_seq ?? null) !== null
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new StarciteError('invalid_event', 'the event is not valid JSON', { cause })
  }
}
