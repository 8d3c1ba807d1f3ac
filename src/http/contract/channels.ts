import type { TSchema } from 'typebox'
import { CLOSE, type ErrorCode } from '../../protocol/errors.ts'
import { MAX_BATCH_SIZE } from '../bounds.ts'
import { APPEND_ERRORS } from '../eventBodies.ts'
import { Type } from '../jsonSchema.ts'
import { NewEvent } from '../schemas.ts'
import { Appended } from './appended.ts'
import { errorsSchema } from './errors.ts'
import { SocketEvent, TailEvent } from './event.ts'
import { LifecyclePush } from './lifecycle.ts'
import { aboutJoin, done, message, push, refused, reply } from './phoenixFrame.ts'
import { Count, closed, Text } from './values.ts'

export interface Channel {
  readonly address: string
  readonly title: string
  readonly description: string
  readonly closes: readonly (keyof typeof CLOSE)[]
  readonly query: Readonly<Record<string, string>>
  /** The query parameter that holds the token. */
  readonly token: string
  /** Frames that the node sends unasked, by name. */
  readonly sends: Readonly<Record<string, TSchema>>
  /** Frames that the client sends, and the replies to each, by name. */
  readonly receives: Readonly<
    Record<string, { message: TSchema; replies: Readonly<Record<string, TSchema>> }>
  >
}

const OF_EVERY_JOIN = [
  'token_expired',
  'invalid_cursor',
  'forbidden_scope',
  'forbidden_session',
  'too_many_tails',
  'storage_unavailable',
  'internal_error',
  'rate_limited',
  'overloaded',
  'draining',
] as const satisfies readonly ErrorCode[]
/** The limit of topics of one socket; other transports have no such code. */
const TOO_MANY_TOPICS = 'too_many_topics'
const UNMATCHED = 'unmatched topic'

const ON_SOCKET_APPEND_ERRORS: readonly ErrorCode[] = [
  ...APPEND_ERRORS,
  'forbidden_scope',
  'forbidden_session',
  'session_not_found',
  'session_erased',
  'body_too_large',
  'rate_limited',
  'internal_error',
  'storage_unavailable',
]

const socket = {
  address: '/v1/socket/websocket',
  query: {
    vsn: 'The version of the framing: `1.0.0` (the default) or `2.0.0`.',
    token: 'The JWT.',
    token_end: 'What the node closes when the token ends: `topics` (the default), or `close` for the socket.',
  },
  token: 'token',
  closes: [
    'binary',
    'malformed',
    'internal',
    'draining',
    'slow',
    'overloaded',
    'silent',
    'unfinished',
    'expired',
    'tokenInvalid',
  ],
} as const

const tailTopic = Type.String({
  pattern: '^tail:',
  description: '`tail:` followed by the id of the session.',
})
const lifecycleTopic = Type.Literal('lifecycle')
const phoenixTopic = Type.Literal('phoenix')

/** Frames of every topic that can be joined. */
const joinable = (topic: TSchema) => ({
  sends: {
    tokenEnded: push(
      topic,
      'token_expired',
      closed({ reason: Type.Enum([CLOSE.expired.reason, CLOSE.tokenInvalid.reason]) }),
    ),
    closed: aboutJoin(topic, 'phx_close'),
    failed: aboutJoin(topic, 'phx_error'),
    changed: push(topic, 'history_changed', closed({ reason: Type.Literal(CLOSE.changed.reason) })),
    damaged: push(topic, 'history_damaged', closed({ reason: Type.Literal(CLOSE.damaged.reason) })),
  },
  leave: {
    message: message(topic, 'phx_leave', Type.Object({})),
    replies: { left: done(topic) },
  },
})

/** The reply to a message for a topic that does not exist or is not joined. */
const unmatched = (topic: TSchema) => refused(topic, [UNMATCHED])

export const CHANNELS: Readonly<Record<string, Channel>> = {
  tail: {
    address: '/v1/sessions/{id}/tail',
    title: 'A tail of one session',
    description:
      'Sends every event after the cursor in order, then live events. Frames from the client are ignored.',
    query: {
      cursor: 'The seq of the last event seen. Default 0.',
      cursor_inserted_at: '`inserted_at` of the event at the cursor, which the node compares with the log.',
      batch_size: `1 to ${MAX_BATCH_SIZE}; from 2 on, frames are arrays.`,
      follow: '`false`: end after the event that is newest when the tail begins.',
      access_token: 'The JWT, for clients that cannot set headers.',
    },
    token: 'access_token',
    closes: [
      'finished',
      'internal',
      'damaged',
      'draining',
      'slow',
      'overloaded',
      'unfinished',
      'expired',
      'tokenInvalid',
      'erased',
      'changed',
    ],
    sends: { event: TailEvent, events: Type.Array(TailEvent, { minItems: 1, maxItems: MAX_BATCH_SIZE }) },
    receives: {},
  },
  socket: {
    ...socket,
    title: 'The socket itself: the topic phoenix',
    description:
      'Many topics on one connection, in the framing of Phoenix Channels. The client sends a frame at least every 60 s.',
    sends: {},
    receives: {
      heartbeat: {
        message: message(phoenixTopic, 'heartbeat', Type.Object({})),
        replies: { alive: done(phoenixTopic) },
      },
      renewToken: {
        message: message(
          phoenixTopic,
          'auth',
          Type.Object({ token: Text('A token of the same tenant and subject.') }),
        ),
        replies: {
          renewed: done(phoenixTopic),
          notRenewed: refused(phoenixTopic, [
            'unauthorized',
            'renewal_in_progress',
            'auth_unavailable',
            'internal_error',
          ]),
        },
      },
      toNoTopic: {
        message: message(Type.String(), 'phx_join', Type.Unknown()),
        replies: { noTopic: unmatched(Type.String()) },
      },
    },
  },
  tailTopic: {
    ...socket,
    title: 'The topics tail:<session id>',
    description: 'A tail of one session, and appends to it. Replies come in the order of the appends.',
    sends: {
      eventsPushed: push(
        tailTopic,
        'events',
        closed({ events: Type.Array(SocketEvent, { minItems: 1, maxItems: MAX_BATCH_SIZE }) }),
      ),
      erased: push(tailTopic, 'session_erased', closed({ reason: Type.Literal(CLOSE.erased.reason) })),
      ...joinable(tailTopic).sends,
    },
    receives: {
      join: {
        message: message(
          tailTopic,
          'phx_join',
          Type.Object({
            cursor: Type.Optional(Count('The seq of the last event seen. Default 0.')),
            cursor_inserted_at: Type.Optional(
              Text('`inserted_at` of the event at the cursor, which the node compares with the log.'),
            ),
            batch_size: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_BATCH_SIZE, default: 1 })),
          }),
        ),
        replies: {
          joined: done(tailTopic),
          notJoined: refused(tailTopic, [
            ...OF_EVERY_JOIN,
            'invalid_tail_batch_size',
            'session_not_found',
            'session_erased',
            'cursor_ahead',
            'history_changed',
            TOO_MANY_TOPICS,
          ]),
        },
      },
      append: {
        message: message(tailTopic, 'append', NewEvent),
        replies: {
          appended: reply(tailTopic, 'ok', Appended),
          notAppended: reply(tailTopic, 'error', errorsSchema(ON_SOCKET_APPEND_ERRORS)),
        },
      },
      leave: joinable(tailTopic).leave,
    },
  },
  lifecycleTopic: {
    ...socket,
    title: 'The topic lifecycle',
    description: 'Changes of the sessions of the tenant, from a cursor on, or from now on.',
    sends: {
      lifecycle: push(lifecycleTopic, 'lifecycle', LifecyclePush),
      ...joinable(lifecycleTopic).sends,
    },
    receives: {
      join: {
        message: message(
          lifecycleTopic,
          'phx_join',
          Type.Object({
            cursor: Type.Optional(Text('The cursor of the last event seen. Absent: from now on.')),
            cursor_at: Type.Optional(
              Text('The `cursor_at` that came with the cursor, which the node compares with the feed.'),
            ),
          }),
        ),
        replies: {
          joined: done(lifecycleTopic),
          notJoined: refused(lifecycleTopic, [
            ...OF_EVERY_JOIN,
            'history_changed',
            'forbidden',
            TOO_MANY_TOPICS,
          ]),
        },
      },
      leave: joinable(lifecycleTopic).leave,
    },
  },
}
