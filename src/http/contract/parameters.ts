import { type TSchema, Type } from 'typebox'
import { MAX_BATCH_SIZE, MAX_METADATA_FILTERS, MAX_WAIT_SECONDS, PAGE } from '../bounds.ts'
import type { Parameter } from './operation.ts'

const inQuery = (name: string, schema: TSchema, description: string): Parameter => ({
  name,
  in: 'query',
  schema,
  description,
})

const position = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })

export const LIMIT = inQuery(
  'limit',
  Type.Integer({ minimum: 1, maximum: PAGE.max, default: PAGE.default }),
  'The longest page.',
)

export const SESSION_CURSOR = inQuery(
  'cursor',
  Type.String({ minLength: 1 }),
  'The last id seen; sessions after it, bytewise, are shown.',
)

export const ARCHIVED = inQuery(
  'archived',
  Type.Enum(['false', 'true', 'all'], { default: 'false' }),
  'Which sessions, by whether they are archived.',
)

export const METADATA_FILTER: Parameter = {
  ...inQuery(
    'metadata',
    Type.Object({}, { additionalProperties: { type: 'string' }, maxProperties: MAX_METADATA_FILTERS }),
    'Only sessions whose metadata has, at the top level, this string under the key, or the number or boolean that ' +
      'it spells. Also as `metadata.K=V`; all filters must hold.',
  ),
  style: 'deepObject',
}

export const PAGE_CURSOR = inQuery(
  'cursor',
  position,
  'With `asc` events after it, from 0 on when absent; with `desc` events before it, from the end on when absent.',
)

export const ORDER = inQuery('order', Type.Enum(['asc', 'desc'], { default: 'asc' }), 'Which way to page.')
export const OF_TYPE = inQuery('type', Type.String({ minLength: 1 }), 'Only events of exactly this type.')
export const OF_ACTOR = inQuery('actor', Type.String({ minLength: 1 }), 'Only events of exactly this actor.')

export const WAIT = inQuery(
  'wait',
  Type.Integer({ minimum: 0, maximum: MAX_WAIT_SECONDS, default: 0 }),
  'With `asc`: when nothing is past the cursor, wait this many seconds for it.',
)

export const TAIL_CURSOR = inQuery(
  'cursor',
  Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, default: 0 }),
  'The last seq seen; events after it are sent.',
)

export const CURSOR_INSERTED_AT = inQuery(
  'cursor_inserted_at',
  Type.String({ format: 'date-time', pattern: '^.{26}Z$' }),
  '`inserted_at` of the event at `cursor`, as it was shown. When the log has another event there, `history_changed`.',
)

export const LAST_EVENT_ID: Parameter = {
  name: 'Last-Event-ID',
  in: 'header',
  schema: Type.String({ minLength: 1 }),
  description:
    'The id of the last event of the stream; wins over `cursor`. An EventSource sends it by itself.',
}

export const FEED_CURSOR = inQuery(
  'cursor',
  Type.String({ minLength: 1 }),
  'The cursor of the last event seen; `0.0` is the beginning. Absent: from now on.',
)

export const FEED_CURSOR_AT = inQuery(
  'cursor_at',
  Type.String({ format: 'date-time', pattern: '^.{26}Z$' }),
  'The `cursor_at` that came with the cursor. When the feed has something else there, `history_changed`.',
)

export const BATCH_SIZE = inQuery(
  'batch_size',
  Type.Integer({ minimum: 1, maximum: MAX_BATCH_SIZE, default: 1 }),
  'From 2 on, every frame is an array of up to so many events.',
)

export const FOLLOW = inQuery(
  'follow',
  Type.Enum(['true', 'false'], { default: 'true' }),
  '`false`: end with what is the last event now.',
)
