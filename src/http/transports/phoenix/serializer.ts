import { elementTexts, isDeeperThan, MAX_JSON_DEPTH, memberTexts } from '../../../lib/jsonText.ts'

/** A frame from a client. Refs are JSON text, to be echoed as they came; `payloadText` is the payload to the letter. */
export interface Message {
  readonly joinRef: string
  readonly ref: string
  readonly topic: string
  readonly event: string
  readonly payload: unknown
  readonly payloadText: string
}

/** A version of Phoenix's framing (Phoenix.Socket.Serializer). */
export interface Serializer {
  /** Undefined when the text is no frame of this version. */
  decode(text: string): Message | undefined
  /** Everything but the event's name is JSON text. */
  encode(joinRef: string, ref: string, topic: string, event: string, payload: string): string
}

export const NULL = 'null'
/** They are echoed in every frame; Phoenix's clients count. */
const MAX_REF_CHARACTERS = 128

/** `[join_ref, ref, topic, event, payload]`. Elements beyond the fifth are ignored, as Phoenix does. */
const V2: Serializer = {
  decode(text) {
    const value = parse(text)
    if (!Array.isArray(value) || value.length < 5) return undefined
    const [joinRef = NULL, ref = NULL, , , payloadText = NULL] = elementTexts(text)
    return checked({ joinRef, ref, topic: value[2], event: value[3], payload: value[4], payloadText })
  },
  encode: (joinRef, ref, topic, event, payload) => `[${joinRef},${ref},${topic},"${event}",${payload}]`,
}

/** `{"topic","event","payload","ref"}`, and in what clients send perhaps a `join_ref`. */
const V1: Serializer = {
  decode(text) {
    const value = parse(text)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
    const { topic, event, payload } = value as Record<string, unknown>
    const texts = memberTexts(text)
    const payloadText = texts.get('payload')
    if (payloadText === undefined) return undefined
    const [joinRef, ref] = [texts.get('join_ref') ?? NULL, texts.get('ref') ?? NULL]
    return checked({ joinRef, ref, topic, event, payload, payloadText })
  },
  encode: (_joinRef, ref, topic, event, payload) =>
    `{"topic":${topic},"event":"${event}","payload":${payload},"ref":${ref}}`,
}

/** By the `vsn` that a client asks for. */
export const SERIALIZERS: ReadonlyMap<string, Serializer> = new Map([
  ['1.0.0', V1],
  ['2.0.0', V2],
])

function parse(text: string): unknown {
  if (isDeeperThan(text, MAX_JSON_DEPTH + 1)) return undefined // a payload begins one level down
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

type Unchecked = Omit<Message, 'topic' | 'event'> & { readonly topic: unknown; readonly event: unknown }

function checked(message: Unchecked): Message | undefined {
  const { joinRef, ref, topic, event } = message
  const isMessage = isRef(joinRef) && isRef(ref) && typeof topic === 'string' && typeof event === 'string'
  return isMessage ? (message as Message) : undefined
}

/** A string, a number or null. */
const isRef = (text: string) => text.length <= MAX_REF_CHARACTERS && /^["\dn-]/.test(text)
