import { headMicrosecondsOf } from '../db/eventRows.ts'
import type { Db } from '../db/pool.ts'
import type { Session } from './session.ts'

const COLUMNS = `s.sid, s.tenant_id, s.id, s.title, s.metadata::text, s.creator_principal::text, h.last_seq, h.epoch, s.version,
                 s.archived, starcite.wire_time(s.created_at), starcite.wire_time(s.updated_at),
                 s.erased_at is not null, ${headMicrosecondsOf('h.last_event_at')}`
const FROM = 'from starcite.sessions s join starcite.session_heads h on h.sid = s.sid'

type Row = readonly (string | null)[]

function decode(row: Row): Session {
  const [
    sid,
    tenantId,
    id,
    title,
    metadata,
    creator,
    lastSeq,
    epoch,
    version,
    archived,
    createdAt,
    updatedAt,
    erased,
    lastEventAt,
  ] = row
  return {
    sid: sid as string,
    tenantId: tenantId as string,
    id: id as string,
    title: title ?? null,
    metadata: metadata as string,
    creatorPrincipal: creator ?? null,
    lastSeq: Number(lastSeq),
    lastEventAt: Number(lastEventAt),
    epoch: Number(epoch),
    version: Number(version),
    archived: archived === 't',
    createdAt: createdAt as string,
    updatedAt: updatedAt as string,
    erased: erased === 't',
  }
}

const FIND = { name: 'find_session', text: `select ${COLUMNS} ${FROM} where s.tenant_id = $1 and s.id = $2` }

export async function findSession(db: Db, tenantId: string, id: string): Promise<Session | undefined> {
  const [row] = await db.query(FIND, [tenantId, id])
  return row && decode(row)
}

/** Who changes a session, for the record; unknown parts are null. */
export interface Caller {
  readonly actor: string | null
  readonly requestId: string | null
}

/** Sets the caller for this transaction, where the trigger sessions_record_change reads it. */
const caller = (actor: string, requestId: string) => `caller as materialized (
           select set_config('starcite.actor', coalesce(${actor}, ''), true),
                  set_config('starcite.request_id', coalesce(${requestId}, ''), true)
         )`

const CREATE = {
  name: 'create_session',
  text: `with ${caller('$6', '$7')}
         select starcite.create_session($1, $2, $3, $4::json, $5::json) from caller`,
}

export interface NewSession {
  readonly tenantId: string
  readonly id: string
  readonly title: string | null
  readonly metadata: string
  readonly creatorPrincipal: string | null
}

/** False when the tenant has a session of that id. */
export async function createSession(db: Db, session: NewSession, by: Caller): Promise<boolean> {
  const { tenantId, id, title, metadata, creatorPrincipal } = session
  const values = [tenantId, id, title, metadata, creatorPrincipal, by.actor, by.requestId]
  const [row] = await db.query(CREATE, values)
  return row?.[0] != null
}

// Compared as canonical texts, in which 1.0 and 1 differ; as jsonb they are equal, and the new spelling would be
// lost.
const PATCH = {
  name: 'patch_session',
  text: `with ${caller('$8', '$9')}, target as (
           select s.sid, s.version, s.erased_at, case when $3::boolean then $4::text else s.title end as title,
                  s.title as old_title, starcite.merge_members(s.metadata, $5::json) as metadata,
                  s.metadata as old_metadata
             from starcite.sessions s cross join caller where s.tenant_id = $1 and s.id = $2
              for no key update of s
         ), changed as (
           update starcite.sessions s
              set title = t.title, metadata = t.metadata, version = s.version + 1,
                  updated_at = greatest(clock_timestamp(), s.updated_at)
             from target t
            where s.sid = t.sid and t.erased_at is null and t.version = coalesce($6::bigint, t.version)
              and (t.title is distinct from t.old_title or starcite.canonical(t.metadata) <> starcite.canonical(t.old_metadata))
              and (octet_length(t.metadata::text) <= $7 or $5::json::text = '{}')
         )
         select t.version = coalesce($6::bigint, t.version), t.version,
                octet_length(t.metadata::text) <= $7 or $5::json::text = '{}'
           from target t`,
}

export interface SessionPatch {
  /** Absent: unchanged. Null: cleared. */
  readonly title?: string | null
  /** JSON text of an object; its members are merged over the existing ones. */
  readonly metadata?: string
  readonly expectedVersion?: number
}

/**
 * Changes what the patch names, unless the version is not the expected one, or the merged metadata would be too
 * large. Undefined: no such session.
 */
export async function patchSession(
  db: Db,
  tenantId: string,
  id: string,
  patch: SessionPatch,
  maxMetadataBytes: number,
  by: Caller,
): Promise<{ matched: boolean; version: number; fits: boolean } | undefined> {
  const [row] = await db.query(PATCH, [
    tenantId,
    id,
    patch.title !== undefined,
    patch.title ?? null,
    patch.metadata ?? '{}',
    patch.expectedVersion ?? null,
    maxMetadataBytes,
    by.actor,
    by.requestId,
  ])
  return row && { matched: row[0] === 't', version: Number(row[1]), fits: row[2] === 't' }
}

const ARCHIVE = {
  name: 'archive_session',
  text: `with ${caller('$4', '$5')}
         update starcite.sessions s
            set archived = $3, version = s.version + 1, updated_at = greatest(clock_timestamp(), s.updated_at)
           from caller
          where s.tenant_id = $1 and s.id = $2 and s.archived <> $3 and s.erased_at is null`,
}

export async function setArchived(
  db: Db,
  tenantId: string,
  id: string,
  archived: boolean,
  by: Caller,
): Promise<void> {
  await db.query(ARCHIVE, [tenantId, id, archived, by.actor, by.requestId])
}

export interface SessionList {
  readonly tenantId: string
  /** Only this session; null: any. */
  readonly only?: string | null
  readonly after: string | undefined
  readonly limit: number
  readonly archived: boolean | 'all'
  /** All must hold; each holds when the metadata contains one of its JSON texts. */
  readonly filters: readonly (readonly string[])[]
}

/** As in the index: with the tenant, so that a filter does not look at sessions of other tenants. */
const ofTenant = (tenant: string, metadata: string) => `jsonb_set('{}', array[${tenant}], ${metadata}::jsonb)`

/** The size of a session's JSON and text in bytes, with a constant for the rest. */
const SESSION_BYTES =
  'octet_length(s.metadata::text) + coalesce(octet_length(s.creator_principal::text), 0) + coalesce(octet_length(s.title), 0) + 512'
/** A page of sessions ends after this many bytes, but never before its first session. */
const MAX_PAGE_BYTES = 8 * 1024 * 1024

/**
 * A page of sessions in bytewise order of id, and whether there are more. Filters use the index on metadata, or walk
 * the ids when a filter selects little.
 */
export async function listSessions(
  db: Db,
  list: SessionList,
): Promise<{ readonly sessions: readonly Session[]; readonly hasMore: boolean }> {
  // One more than requested shows whether there are more.
  const values: unknown[] = [list.tenantId, list.limit + 1, MAX_PAGE_BYTES]
  const bind = (value: unknown) => `$${values.push(value)}`
  const conditions = ['s.tenant_id = $1', 's.erased_at is null']
  if (list.only != null) conditions.push(`s.id = ${bind(list.only)}`)
  if (list.after !== undefined) conditions.push(`s.id > ${bind(list.after)}`)
  if (list.archived !== 'all') conditions.push(`s.archived = ${bind(list.archived)}`)
  for (const alternatives of list.filters)
    conditions.push(
      `(${alternatives.map((it) => `${ofTenant('s.tenant_id', 's.metadata')} @> ${ofTenant('$1::text', bind(it))}`).join(' or ')})`,
    )
  const text = `select p.*
                  from (select q.*, sum(q.bytes) over (order by q.id rows unbounded preceding) - q.bytes as bytes_before,
                               lead(q.id) over (order by q.id) is not null as has_more
                          from (select ${COLUMNS}, ${SESSION_BYTES} as bytes
                                  ${FROM} where ${conditions.join(' and ')} order by s.id limit $2) q) p
                 where p.bytes_before < $3
                 order by p.id`
  const rows = await db.query({ text }, values)
  const page = rows.slice(0, list.limit)
  return { sessions: page.map(decode), hasMore: page.at(-1)?.at(-1) === 't' }
}
