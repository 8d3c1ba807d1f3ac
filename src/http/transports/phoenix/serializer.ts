import { scanElements, scanMembers } from '../../../lib/jsonMembers.ts'
import { type JsonSpan, JsonSyntaxError } from '../../../lib/jsonScanner.ts'

/** A frame from a client. Refs are JSON text and are echoed unchanged; `payloadText` is the exact text of the payload. */
export interface Message {
  readonly joinRef: string
  readonly ref: string
  readonly topic: string
  readonly event: string
  readonly payloadText: string
}

/** A version of Phoenix's framing (Phoenix.Socket.Serializer). */
export interface Serializer {
  /** Parses a frame. Undefined when the text is not one of this version. */
  decode(text: string): Message | undefined
  /** Renders a frame. All arguments but the name of the event are JSON text. */
  encode(joinRef: string, ref: string, topic: string, event: string, payload: string): string
}

export const NULL = 'null'
/** Refs are echoed in every frame. Phoenix's clients send short numbers. */
const MAX_REF_CHARACTERS = 128
/** The depth at which the scanner starts, so that a payload may be nested as deeply as a body. */
const OUTSIDE = -1
const ELEMENTS = ['joinRef', 'ref', 'topic', 'event', 'payload'] as const
const MEMBERS = ['topic', 'event', 'payload', 'ref', 'join_ref']

/** `[join_ref, ref, topic, event, payload]`. Elements beyond the fifth are ignored, as Phoenix does. */
const V2: Serializer = {
  decode(text) {
    const elements = scanned(() => scanElements(text, ELEMENTS.length, { outside: OUTSIDE }))
    if (elements === undefined || elements.count < ELEMENTS.length) return undefined
    const [joinRef, ref, topic, event, payload] = elements.spans
    return message(text, joinRef, ref, topic, event, payload)
  },
  encode: (joinRef, ref, topic, event, payload) => `[${joinRef},${ref},${topic},"${event}",${payload}]`,
}

/** `{"topic","event","payload","ref"}`; frames from clients may have a `join_ref`. */
const V1: Serializer = {
  decode(text) {
    const members = scanned(() => scanMembers(text, MEMBERS, { outside: OUTSIDE }))
    const [joinRef, ref] = [members?.get('join_ref'), members?.get('ref')]
    return (
      members &&
      message(text, joinRef, ref, members.get('topic'), members.get('event'), members.get('payload'))
    )
  },
  encode: (_joinRef, ref, topic, event, payload) =>
    `{"topic":${topic},"event":"${event}","payload":${payload},"ref":${ref}}`,
}

/** The serializers by the `vsn` that a client asks for. */
export const SERIALIZERS: ReadonlyMap<string, Serializer> = new Map([
  ['1.0.0', V1],
  ['2.0.0', V2],
])

function scanned<T>(scan: () => T): T | undefined {
  try {
    return scan()
  } catch (error) {
    if (error instanceof JsonSyntaxError) return undefined
    throw error
  }
}

function message(
  text: string,
  joinRef: JsonSpan | undefined,
  ref: JsonSpan | undefined,
  topic: JsonSpan | undefined,
  event: JsonSpan | undefined,
  payload: JsonSpan | undefined,
): Message | undefined {
  const textOf = (span: JsonSpan | undefined) => (span ? text.slice(span.start, span.end) : NULL)
  const [joinRefText, refText] = [textOf(joinRef), textOf(ref)]
  if (!isRef(joinRefText) || !isRef(refText) || payload === undefined) return undefined
  const [topicName, eventName] = [stringOf(textOf(topic)), stringOf(textOf(event))]
  if (topicName === undefined || eventName === undefined) return undefined
  return {
    joinRef: joinRefText,
    ref: refText,
    topic: topicName,
    event: eventName,
    payloadText: textOf(payload),
  }
}

const stringOf = (text: string): string | undefined =>
  text.startsWith('"') ? (JSON.parse(text) as string) : undefined

/** Whether the JSON text is a ref: a string, a number or null. */
const isRef = (text: string) => text.length <= MAX_REF_CHARACTERS && /^["\dn-]/.test(text)
