import { Type } from '../jsonSchema.ts'
import { CreatorPrincipal } from '../schemas.ts'
import { Count, closed, Text, Time, Verbatim } from './values.ts'

/** A session as every operation shows it. */
export const Session = closed(
  {
    id: Type.String({ minLength: 1, description: '1 to 256 bytes, without control characters.' }),
    title: Type.Union([Type.String(), Type.Null()]),
    metadata: Verbatim('Data that the application keeps with the session.'),
    tenant_id: Text('The tenant that owns the session; `default` without authentication.'),
    creator_principal: Type.Optional(CreatorPrincipal),
    last_seq: Count('The seq of the newest event; 0 before the first.'),
    version: Type.Integer({
      minimum: 1,
      description: 'Increases with each change of title, metadata or archived, not with appends.',
    }),
    archived: Type.Boolean({
      description: 'Whether the default list hides the session. Nothing else depends on it.',
    }),
    created_at: Time('When the session was created.'),
    updated_at: Time('When title, metadata or archived last changed.'),
  },
  { title: 'Session' },
)

export const SessionPage = closed(
  {
    sessions: Type.Array(Session),
    next_cursor: Type.Union([Type.String({ minLength: 1 }), Type.Null()], {
      description: 'The cursor of the next page; null when this is the last.',
    }),
  },
  { title: 'SessionPage' },
)
