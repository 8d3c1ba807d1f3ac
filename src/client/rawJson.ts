import { StarciteError } from './errors.ts'
import type { SessionEvent } from './types.ts'

const QUOTE = 0x22
const COMMA = 0x2c
const OPENING = new Set([0x5b, 0x7b])
const CLOSING = new Set([0x5d, 0x7d])

/** The exact texts of the elements of the array that begins at `at` in valid JSON. */
export function elementsOf(text: string, at = 0): string[] {
  const elements: string[] = []
  let depth = 0
  let from = at + 1
  for (let i = at; i < text.length; i += 1) {
    const char = text.charCodeAt(i)
    if (char === QUOTE) i = endOfString(text, i)
    else if (OPENING.has(char)) depth += 1
    else if (CLOSING.has(char) || (char === COMMA && depth === 1)) {
      if (char !== COMMA) depth -= 1
      if (depth > 1 || (depth === 1 && char !== COMMA)) continue
      const element = text.slice(from, i).trim()
      if (element !== '') elements.push(element)
      if (depth === 0) return elements
      from = i + 1
    }
  }
  throw new StarciteError('invalid_answer', 'an array of events is not closed')
}

/** The end of the string that begins at `at`: the first quote after an even number of backslashes. */
function endOfString(text: string, at: number): number {
  for (let i = at + 1; ; i += 1) {
    i = text.indexOf('"', i)
    if (i < 0) throw new StarciteError('invalid_answer', 'a string in an event is not closed')
    let backslashes = 0
    while (text[i - 1 - backslashes] === '\\') backslashes += 1
    if (backslashes % 2 === 0) return i
  }
}

const isObject = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Parses an event and keeps its text as `raw`. Throws `invalid_answer` when the text is not an event. */
export function readEvent<Events>(raw: string): SessionEvent<Events> {
  let event: Record<string, unknown>
  try {
    event = JSON.parse(raw)
  } catch (cause) {
    throw new StarciteError('invalid_answer', 'an event is not valid JSON', { cause, retryable: true })
  }
  const isEvent =
    isObject(event) &&
    Number.isSafeInteger(event.seq) &&
    ['type', 'actor', 'inserted_at'].every((name) => typeof event[name] === 'string') &&
    ['payload', 'metadata', 'refs'].every((name) => isObject(event[name]))
  if (!isEvent) throw new StarciteError('invalid_answer', 'the message is not an event', { retryable: true })
  return Object.defineProperty(event, 'raw', { value: raw }) as unknown as SessionEvent<Events>
}

/** The events of a WebSocket message: one event, or an array. */
export function readFrame<Events>(frame: string): SessionEvent<Events>[] {
  return (frame.startsWith('[') ? elementsOf(frame) : [frame]).map((raw) => readEvent<Events>(raw))
}
