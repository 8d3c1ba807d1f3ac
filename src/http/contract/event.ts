import { Type } from '../jsonSchema.ts'
import { closed, Seq, Text, Time, Verbatim } from './values.ts'

const MEMBERS = {
  seq: Seq('Its position in the session: 1, 2, 3 …'),
  type: Text('What happened, in the words of whoever appended it.'),
  payload: Verbatim('What there is to say about it.'),
  actor: Text(
    "Who did it: the token's `sub`, or whom it named with `session:act_as`; without authentication what was sent, or `anonymous`.",
  ),
  subject: Type.Optional(Text("The token's `sub`, where it appended the event in the name of `actor`.")),
  source: Type.Optional(Text('Where it came from.')),
  producer_id: Type.Optional(Text('Who numbers its retries.')),
  producer_seq: Type.Optional(Seq('Its number at that producer.')),
  idempotency_key: Type.Optional(Text('A key of the client; stored, never compared.')),
  metadata: Verbatim('What is said about the event itself.'),
  refs: Verbatim('What it refers to.'),
  redacted: Type.Optional(
    Type.Literal(true, { description: 'Its payload, metadata and refs were removed.' }),
  ),
  inserted_at: Time('When it was stored.'),
}

const DESCRIPTION =
  'The same bytes on every read: live, replayed, from cold storage. What was not given is absent.'

/** An event as every reader of the HTTP API sees it. `producer_id` and `producer_seq` come together, or not at all. */
export const Event = closed(MEMBERS, {
  title: 'Event',
  description: DESCRIPTION,
  // Generators read an `anyOf` of required members as an alternative that may be anything.
  dependentRequired: { producer_id: ['producer_seq'], producer_seq: ['producer_id'] },
})

/** The same rule for AsyncAPI, whose JSON Schema (draft 7) lacks `dependentRequired`. */
const TOGETHER = [
  { required: ['producer_id', 'producer_seq'] },
  { properties: { producer_id: false, producer_seq: false } },
]

/** An event as a tail sends it. */
export const TailEvent = closed(MEMBERS, { title: 'Event', description: DESCRIPTION, anyOf: TOGETHER })

/** An event on the multiplexed socket. */
export const SocketEvent = closed(
  { ...MEMBERS, cursor: Seq('Equal to seq.') },
  { title: 'SocketEvent', description: 'An Event, and its cursor.', anyOf: TOGETHER },
)
