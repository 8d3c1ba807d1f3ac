import { Type } from './jsonSchema.ts'

/** The largest integer that every JSON parser reads exactly; Postgres's bigint goes further. */
const MAX_INTEGER = Number.MAX_SAFE_INTEGER
/** Below the 2,700 bytes or so that an index entry of Postgres holds, and ample for names. */
const MAX_NAME_CHARACTERS = 512

/** A page lists up to 1,000 titles. */
const MAX_TITLE_CHARACTERS = 1024

/** Room for a sentence or a case number. The reason is kept for ever, so it must not hold what is erased. */
const MAX_REASON_CHARACTERS = 500

const Title = Type.String({ maxLength: MAX_TITLE_CHARACTERS })
const Name = Type.String({ minLength: 1, maxLength: MAX_NAME_CHARACTERS })
/** Stated explicitly: generators would make an object without members otherwise. */
const OPEN = { additionalProperties: true } as const
const JsonObject = Type.Object({}, OPEN)

export const Refs = Type.Object(
  {
    to_seq: Type.Optional(Type.Integer({ minimum: 0, maximum: MAX_INTEGER })),
    step: Type.Optional(Type.Integer({ minimum: 0, maximum: MAX_INTEGER })),
    request_id: Type.Optional(Type.String()),
    sequence_id: Type.Optional(Type.String()),
  },
  { title: 'Refs', ...OPEN },
)

export const NewEvent = Type.Object(
  {
    type: Name,
    payload: JsonObject,
    actor: Type.Optional(Name),
    producer_id: Type.Optional(Name),
    producer_seq: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_INTEGER })),
    source: Type.Optional(Name),
    idempotency_key: Type.Optional(Name),
    metadata: Type.Optional(JsonObject),
    refs: Type.Optional(Refs),
    expected_seq: Type.Optional(Type.Integer({ minimum: 0, maximum: MAX_INTEGER })),
  },
  { title: 'NewEvent' },
)

export const NewEventBatch = Type.Object({
  events: Type.Array(Type.Unknown(), { minItems: 1 }),
  expected_seq: Type.Optional(Type.Integer({ minimum: 0, maximum: MAX_INTEGER })),
})

export const CreatorPrincipal = Type.Object(
  { tenant_id: Type.Optional(Name), id: Name, type: Type.Optional(Name) },
  { title: 'CreatorPrincipal' },
)

export const NewSession = Type.Object(
  {
    id: Type.Optional(Type.String({ minLength: 1 })),
    title: Type.Optional(Title),
    metadata: Type.Optional(JsonObject),
    creator_principal: Type.Optional(CreatorPrincipal),
  },
  { title: 'NewSession' },
)

export const SessionPatch = Type.Object(
  {
    title: Type.Optional(Type.Union([Title, Type.Null()])),
    metadata: Type.Optional(JsonObject),
    expected_version: Type.Optional(Type.Integer({ minimum: 0, maximum: MAX_INTEGER })),
  },
  { title: 'SessionPatch' },
)

export const ErasureBody = Type.Object(
  {
    reason: Type.Optional(Type.String({ minLength: 1, maxLength: MAX_REASON_CHARACTERS })),
    vacuum: Type.Optional(Type.Boolean()),
  },
  { title: 'ErasureBody' },
)

export const TailStart = Type.Object(
  {
    session_id: Type.String({ minLength: 1 }),
    cursor: Type.Optional(Type.Integer({ minimum: 0, maximum: MAX_INTEGER })),
    cursor_inserted_at: Type.Optional(
      Type.String({
        pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{6}Z$',
        description:
          '`inserted_at` of the event at the cursor, unchanged; the node compares it with the log.',
      }),
    ),
  },
  { title: 'TailStart' },
)
