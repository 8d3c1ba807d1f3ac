import type { TProperties } from 'typebox'
import { Type } from '../jsonSchema.ts'
import { Count, closed, Seq, Text, Time, Verbatim } from './values.ts'

const ofKind = (kind: string, members: TProperties = {}) =>
  closed({
    kind: Type.Literal(`session.${kind}`),
    session_id: Text('The id of the session.'),
    tenant_id: Text('The tenant that owns the session.'),
    ...members,
  })

const described = {
  title: Type.Optional(
    Type.String({ description: 'Absent when the session had none, or was erased since.' }),
  ),
  metadata: Verbatim('The metadata at that time; empty once the session is erased.'),
  version: Seq('The version at that time.'),
}

const LifecycleEvent = Type.Union(
  [
    ofKind('activated'),
    ofKind('created', { ...described, created_at: Time('When the session was created.') }),
    ofKind('updated', { ...described, updated_at: Time('When the session was changed.') }),
    ofKind('archived', { archived: Type.Literal(true) }),
    ofKind('unarchived', { archived: Type.Literal(false) }),
    ofKind('appended', { last_seq: Count('The newest seq of the session, reported at most once a second.') }),
    ofKind('erased'),
  ],
  { title: 'LifecycleEvent' },
)

/** One event of the lifecycle feed, as event streams and the multiplexed socket send it. */
export const LifecyclePush = closed(
  {
    event: LifecycleEvent,
    cursor: Text('The cursor with which the feed continues after the event.'),
    cursor_at: Time('When the event was recorded. Send it back with the cursor to have it checked.'),
  },
  { title: 'LifecyclePush' },
)
