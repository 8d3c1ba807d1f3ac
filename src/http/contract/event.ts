import { Type } from '../jsonSchema.ts'
import { closed, Seq, Text, Time, Verbatim } from './values.ts'

const MEMBERS = {
  seq: Seq('The position of the event in its session: 1, 2, 3 …'),
  type: Text('What happened, as the client that appended the event names it.'),
  payload: Verbatim('The content of the event.'),
  actor: Text(
    "Who did it: the token's `sub`, or the actor that a token with `session:act_as` named; without authentication the actor that was sent, or `anonymous`.",
  ),
  subject: Type.Optional(Text("The token's `sub`, when the token appended the event on behalf of `actor`.")),
  source: Type.Optional(Text('The system that the event comes from.')),
  producer_id: Type.Optional(Text('The producer that numbered the event.')),
  producer_seq: Type.Optional(Seq('The number that the producer gave the event.')),
  idempotency_key: Type.Optional(Text('A key of the client. It is stored and never compared.')),
  metadata: Verbatim('Data about the event itself.'),
  refs: Verbatim('References to other events and requests.'),
  redacted: Type.Optional(Type.Literal(true, { description: 'payload, metadata and refs were erased.' })),
  inserted_at: Time('When the event was stored.'),
}

const DESCRIPTION =
  'The bytes are the same on every read: live, replayed, or from cold storage. Members that were not given are absent.'

/** An event as the HTTP API shows it. It has both `producer_id` and `producer_seq`, or neither. */
export const Event = closed(MEMBERS, {
  title: 'Event',
  description: DESCRIPTION,
  // Generators take an `anyOf` of required members for an alternative of any type.
  dependentRequired: { producer_id: ['producer_seq'], producer_seq: ['producer_id'] },
})

/** Requires both or neither in AsyncAPI, whose JSON Schema (draft 7) lacks `dependentRequired`. */
const TOGETHER = [
  { required: ['producer_id', 'producer_seq'] },
  { properties: { producer_id: false, producer_seq: false } },
]

/** An event as a WebSocket tail sends it. */
export const TailEvent = closed(MEMBERS, { title: 'Event', description: DESCRIPTION, anyOf: TOGETHER })

/** An event as the multiplexed socket sends it. */
export const SocketEvent = closed(
  { ...MEMBERS, cursor: Seq('Equal to seq.') },
  { title: 'SocketEvent', description: 'An Event with its cursor.', anyOf: TOGETHER },
)
