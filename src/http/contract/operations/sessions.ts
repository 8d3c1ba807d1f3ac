import { NewSession, SessionPatch } from '../../schemas.ts'
import type { Answer, Operation } from '../operation.ts'
import { ARCHIVED, LIMIT, METADATA_FILTER, SESSION_CURSOR } from '../parameters.ts'
import { Session, SessionPage } from '../session.ts'

const JSON_TYPE = 'application/json'
const shown: Answer = { description: 'The session, as it is now.', content: { [JSON_TYPE]: Session } }
const ofSession = { tag: 'sessions', scope: 'session:create', answers: { 200: shown } } as const

/** See routes/sessions.ts. */
export const SESSION_OPERATIONS: readonly Operation[] = [
  {
    ...ofSession,
    method: 'post',
    path: '/v1/sessions',
    id: 'createSession',
    summary: 'Create a session',
    description:
      'Without `id` one is made. With authentication the creator is the token, whatever the body says.',
    body: { required: false, content: { [JSON_TYPE]: NewSession } },
    answers: {
      201: {
        description: 'It is created.',
        content: { [JSON_TYPE]: Session },
        headers: ['Location'],
      },
    },
    errors: ['invalid_session', 'invalid_metadata', 'forbidden_session', 'session_exists', 'session_erased'],
  },
  {
    method: 'get',
    path: '/v1/sessions',
    id: 'listSessions',
    tag: 'sessions',
    summary: 'List sessions',
    description: 'Ascending by id, bytewise. A token that is locked to a session sees at most that one.',
    scope: 'session:read',
    parameters: [LIMIT, SESSION_CURSOR, ARCHIVED, METADATA_FILTER],
    answers: { 200: { description: 'A page of sessions.', content: { [JSON_TYPE]: SessionPage } } },
    errors: ['invalid_cursor', 'invalid_limit', 'invalid_list_query'],
  },
  {
    ...ofSession,
    method: 'get',
    path: '/v1/sessions/:id',
    id: 'getSession',
    summary: 'Show a session',
    scope: 'session:read',
    errors: [],
  },
  {
    ...ofSession,
    method: 'patch',
    path: '/v1/sessions/:id',
    id: 'updateSession',
    summary: 'Change title or metadata',
    description: 'Members of `metadata` are put over those there. `title: null` clears the title.',
    body: { required: true, content: { [JSON_TYPE]: SessionPatch } },
    errors: ['invalid_session', 'invalid_metadata', 'expected_version_conflict'],
  },
  {
    ...ofSession,
    method: 'post',
    path: '/v1/sessions/:id/archive',
    id: 'archiveSession',
    summary: 'Hide a session from the default list',
    errors: [],
  },
  {
    ...ofSession,
    method: 'post',
    path: '/v1/sessions/:id/unarchive',
    id: 'unarchiveSession',
    summary: 'Show it there again',
    errors: [],
  },
]
