import { Type } from '../jsonSchema.ts'
import { CreatorPrincipal } from '../schemas.ts'
import { Count, closed, Text, Time, Verbatim } from './values.ts'

/** The one shape of a session. */
export const Session = closed(
  {
    id: Type.String({ minLength: 1, description: '1 to 256 bytes, without control characters.' }),
    title: Type.Union([Type.String(), Type.Null()]),
    metadata: Verbatim('What its owner says about it.'),
    tenant_id: Text('Whose it is; `default` without authentication.'),
    creator_principal: Type.Optional(CreatorPrincipal),
    last_seq: Count('The seq of its newest event; 0 before the first.'),
    version: Type.Integer({
      minimum: 1,
      description: 'Goes up with title, metadata and archived, not with appends.',
    }),
    archived: Type.Boolean({ description: 'Hidden from the default list, and nothing else.' }),
    created_at: Time('When it was created.'),
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
