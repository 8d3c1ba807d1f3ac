import type { TProperties } from 'typebox'
import { Type } from '../jsonSchema.ts'
import { Count, closed, Seq, Text, Time, Verbatim } from './values.ts'

const ofKind = (kind: string, members: TProperties = {}) =>
  closed({
    kind: Type.Literal(`session.${kind}`),
    session_id: Text('Which session.'),
    tenant_id: Text('Whose it is.'),
    ...members,
  })

const described = {
  title: Type.Optional(Type.String({ description: 'Absent when it has none, or was erased since.' })),
  metadata: Verbatim('What it was then; empty once the session is erased.'),
  version: Seq('Its version then.'),
}

const LifecycleEvent = Type.Union(
  [
    ofKind('activated'),
    ofKind('created', { ...described, created_at: Time('When it was created.') }),
    ofKind('updated', { ...described, updated_at: Time('When it was changed.') }),
    ofKind('archived', { archived: Type.Literal(true) }),
    ofKind('unarchived', { archived: Type.Literal(false) }),
    ofKind('appended', { last_seq: Count('How far its log is; at most told once a second.') }),
    ofKind('erased'),
  ],
  { title: 'LifecycleEvent' },
)

/** One event of the feed, on either transport. */
export const LifecyclePush = closed(
  {
    event: LifecycleEvent,
    cursor: Text('Where to go on after this.'),
    cursor_at: Time('When that was recorded; given back with the cursor, it is checked.'),
  },
  { title: 'LifecyclePush' },
)
