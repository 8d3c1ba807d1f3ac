import type { DbSession } from '../../db/session.ts'
import type { OldSlice, Redaction, Rewritten } from './rewrite.ts'

// All of it on the one connection that holds the job's lock.

export interface Erasure {
  readonly erasureId: string
  readonly kind: 'session' | 'event' | 'segment'
  /** Null for a segment. */
  readonly sid: string | null
  readonly firstSeq: number
  readonly lastSeq: number
  readonly vacuum: boolean
}

/** The next ones that are pending, oldest first. */
export async function pendingErasures(session: DbSession, after: string, limit: number): Promise<Erasure[]> {
  const rows = await session.query(
    `select e.erasure_id, e.kind, e.sid, e.first_seq, e.last_seq, e.vacuum
       from starcite.erasures e
      where e.state = 'pending' and e.erasure_id > $1 order by e.erasure_id limit $2`,
    [after, limit],
  )
  return rows.map(([erasureId, kind, sid, firstSeq, lastSeq, vacuum]) => ({
    erasureId: erasureId as string,
    kind: kind as Erasure['kind'],
    sid: sid ?? null,
    firstSeq: Number(firstSeq),
    lastSeq: Number(lastSeq),
    vacuum: vacuum === 't',
  }))
}

/** Empties rows of a session from a seq on, at most `limit`. Answers the last of them, or undefined at the end. */
export async function emptyRows(
  session: DbSession,
  { erasureId, sid, lastSeq }: Erasure,
  fromSeq: number,
  limit: number,
): Promise<number | undefined> {
  const [row] = await session.query(
    `with emptied as (
       update starcite.events e set payload = null, metadata = null, refs = null, salt = null
        where e.sid = $2 and e.salt is not null
          and e.seq = any (array(select x.seq from starcite.events x
                                  where x.sid = $2 and x.seq between $3 and $4 and x.salt is not null
                                  order by x.seq limit $5))
       returning e.seq
     ), noted as (
       update starcite.erasures n set hot_events = n.hot_events + (select count(*) from emptied)
        where n.erasure_id = $1 and exists (select from emptied)
     )
     select max(e.seq) from emptied e`,
    [erasureId, sid, fromSeq, lastSeq, limit],
  )
  return row?.[0] == null ? undefined : Number(row[0])
}

export interface OldObject {
  readonly objectId: string
  readonly key: string
  readonly tenantId: string
  readonly segment: string
}

/** Objects that may hold what these erasures cover, those they are done with left out. */
export async function affectedObjects(
  session: DbSession,
  erasureIds: readonly string[],
): Promise<OldObject[]> {
  const rows = await session.query(
    `select distinct o.object_id, o.key, o.tenant_id, o.segment
       from starcite.erasures e
      cross join lateral (
              select s.object_id from starcite.slices s
               where s.sid = e.sid and s.first_seq <= e.last_seq and s.last_seq >= e.first_seq
              union all
              select o.object_id from starcite.objects o
               where e.kind = 'segment' and o.segment = e.segment and o.tenant_id = e.tenant_id) a
       join starcite.objects o on o.object_id = a.object_id
      where e.erasure_id = any ($1::bigint[]) and a.object_id > e.done_object_id
      order by o.object_id`,
    [erasureIds],
  )
  return rows.map(([objectId, key, tenantId, segment]) => ({
    objectId: objectId as string,
    key: key as string,
    tenantId: tenantId as string,
    segment: segment as string,
  }))
}

/** The slices of an object, in its order, each with what has to go from it. What is under a legal hold stays. */
export async function slicesOf(
  session: DbSession,
  objectId: string,
  erasureIds: readonly string[],
): Promise<OldSlice[]> {
  const rows = await session.query(
    `select s.sid, s.first_seq, s.last_seq, s.byte_offset, s.bytes, encode(s.sha256, 'hex'),
            (select coalesce(json_agg(json_build_array(e.erasure_id::text, greatest(e.first_seq, s.first_seq),
                                                       least(e.last_seq, s.last_seq)) order by e.erasure_id), '[]')
               from starcite.erasures e
              where e.erasure_id = any ($2::bigint[])
                and ((e.sid = s.sid and e.first_seq <= s.last_seq and e.last_seq >= s.first_seq)
                  or (e.kind = 'segment' and e.segment = o.segment and e.tenant_id = o.tenant_id
                      and not exists (select from starcite.legal_holds l where l.sid = s.sid))))
       from starcite.objects o join starcite.slices s on s.object_id = o.object_id
      where o.object_id = $1
      order by s.byte_offset`,
    [objectId, erasureIds],
  )
  return rows.map(([sid, firstSeq, lastSeq, offset, bytes, sha256, redactions]) => ({
    sid: sid as string,
    firstSeq: Number(firstSeq),
    lastSeq: Number(lastSeq),
    offset: Number(offset),
    bytes: Number(bytes),
    sha256: Buffer.from(sha256 as string, 'hex'),
    redactions: (JSON.parse(redactions as string) as [string, number, number][]).map(
      ([erasureId, first, last]): Redaction => ({ erasureId, firstSeq: first, lastSeq: last }),
    ),
  }))
}

/** The instant at which readers find the new object and no longer the old one, which is then to be deleted. */
export async function replaceObject(
  session: DbSession,
  { objectId, key }: OldObject,
  newKey: string,
  { body, sha256, slices, sids }: Rewritten,
  erasureIds: readonly string[],
): Promise<void> {
  const replaced = await session.query(
    `update starcite.objects o set key = $3, bytes = $4, sha256 = decode($5, 'hex')
      where o.object_id = $1 and o.key = $2 returning o.object_id`,
    [objectId, key, newKey, body.length, sha256.toString('hex')],
  )
  if (replaced.length !== 1) throw new Error(`object ${key} was replaced by somebody without the job's lock`)
  await session.query(
    `update starcite.slices s set byte_offset = w.byte_offset, bytes = w.bytes, sha256 = decode(w.sha256, 'hex')
       from unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::int[], $6::text[])
              as w (sid, first_seq, byte_offset, bytes, sha256)
      where s.object_id = $1 and s.sid = w.sid and s.first_seq = w.first_seq`,
    [
      objectId,
      slices.map((it) => it.sid),
      slices.map((it) => it.firstSeq),
      slices.map((it) => it.offset),
      slices.map((it) => it.bytes),
      slices.map((it) => it.sha256.toString('hex')),
    ],
  )
  await session.query(
    'insert into starcite.superseded_objects (key) values ($1) on conflict (key) do nothing',
    [key],
  )
  await session.query('select starcite.content_removed($1::bigint[])', [sids])
  // Which has locked the heads, so whoever holds a session comes before this, or finds the content gone.
  const [held] = await session.query(
    `select l.sid from starcite.legal_holds l
      where l.sid = any ($1::bigint[])
        and not exists (select from starcite.erasures e where e.erasure_id = any ($2::bigint[]) and e.sid = l.sid)`,
    [sids, erasureIds],
  )
  if (held) throw new Error(`session ${held[0]} was put under a legal hold just now`)
}

/** These erasures need not look at the object again; some had events in it. */
export async function noteProgress(
  session: DbSession,
  objectId: string,
  erasureIds: readonly string[],
  events: ReadonlyMap<string, number>,
): Promise<void> {
  await session.query(
    `update starcite.erasures e
        set done_object_id = $1, cold_events = e.cold_events + w.events, objects = e.objects + (w.events > 0)::int
       from unnest($2::bigint[], $3::bigint[]) as w (erasure_id, events)
      where e.erasure_id = w.erasure_id and e.done_object_id < $1`,
    [objectId, erasureIds, erasureIds.map((id) => events.get(id) ?? 0)],
  )
}

/** Of these erasures, those of sessions that have events in a segment which is being copied at present. */
export async function waitingForMoves(
  session: DbSession,
  erasureIds: readonly string[],
): Promise<Set<string>> {
  const rows = await session.query(
    `select e.erasure_id
       from starcite.erasures e
      where e.erasure_id = any ($1::bigint[]) and e.sid is not null
        and exists (select from starcite.events x
                     where x.sid = e.sid and x.seq between e.first_seq and e.last_seq
                       and x.tableoid in (select to_regclass(format('starcite.%I', g.name))
                                            from starcite.segments g where g.state = 'closed'))`,
    [erasureIds],
  )
  return new Set(rows.map(([erasureId]) => erasureId as string))
}

export interface Place {
  readonly tenantId: string
  readonly segment: string
}

/** Where in the store copies of what these erasures cover may lie that no manifest names. */
export async function placesOf(session: DbSession, erasureIds: readonly string[]): Promise<Place[]> {
  const rows = await session.query(
    `select e.tenant_id, e.segment from starcite.erasures e
      where e.erasure_id = any ($1::bigint[]) and e.kind = 'segment'
      union
     select o.tenant_id, o.segment
       from starcite.erasures e
       join starcite.slices s on s.sid = e.sid and s.first_seq <= e.last_seq and s.last_seq >= e.first_seq
       join starcite.objects o on o.object_id = s.object_id
       join starcite.segments g on g.name = o.segment and g.state in ('moved', 'dropped')
      where e.erasure_id = any ($1::bigint[])`,
    [erasureIds],
  )
  return rows.map(([tenantId, segment]) => ({ tenantId: tenantId as string, segment: segment as string }))
}

/** Of these keys, those that no object of the manifest has. */
export async function unnamed(session: DbSession, keys: readonly string[]): Promise<string[]> {
  const rows = await session.query(
    `select k.key from unnest($1::text[]) as k (key)
      where not exists (select from starcite.objects o where o.key = k.key collate "C")`,
    [keys],
  )
  return rows.map(([key]) => key as string)
}

export async function supersededObjects(session: DbSession): Promise<string[]> {
  const rows = await session.query('select s.key from starcite.superseded_objects s order by s.superseded_at')
  return rows.map(([key]) => key as string)
}

export async function forgetSuperseded(session: DbSession, key: string): Promise<void> {
  await session.query('delete from starcite.superseded_objects s where s.key = $1', [key])
}

/** Takes dead rows, and what statistics quote of them, out of the tables that had the content. */
export async function vacuum(session: DbSession): Promise<void> {
  await session.query('vacuum (analyze) starcite.sessions')
  await session.query('vacuum starcite.session_changes')
  await session.query('vacuum starcite.producers')
  await session.query('vacuum starcite.events')
  await session.query('vacuum starcite.archive_objects')
  await session.query('vacuum starcite.loaded_events')
}

export interface Done {
  readonly id: string
  readonly kind: Erasure['kind']
  readonly hotEvents: number
  readonly coldEvents: number
  readonly objects: number
  readonly seconds: number
}

export async function markDone(session: DbSession, erasureIds: readonly string[]): Promise<Done[]> {
  const rows = await session.query(
    `update starcite.erasures e set state = 'done', completed_at = clock_timestamp(), last_error = null
      where e.erasure_id = any ($1::bigint[]) and e.state = 'pending'
     returning e.id, e.kind, e.hot_events, e.cold_events, e.objects, extract(epoch from e.completed_at - e.requested_at)`,
    [erasureIds],
  )
  return rows.map(([id, kind, hotEvents, coldEvents, objects, seconds]) => ({
    id: id as string,
    kind: kind as Erasure['kind'],
    hotEvents: Number(hotEvents),
    coldEvents: Number(coldEvents),
    objects: Number(objects),
    seconds: Number(seconds),
  }))
}

export async function noteFailure(
  session: DbSession,
  erasureIds: readonly string[],
  message: string,
): Promise<void> {
  await session.query(
    `update starcite.erasures e set last_error = $2 where e.erasure_id = any ($1::bigint[]) and e.state = 'pending'`,
    [erasureIds, message],
  )
}

/** Done for as long as a write of a process that lost the job's lock may still be under way. */
export async function dueForRecheck(session: DbSession, limit: number): Promise<string[]> {
  const rows = await session.query(
    `select e.erasure_id from starcite.erasures e
      where e.state = 'done' and not e.rechecked and e.completed_at < clock_timestamp() - interval '10 minutes'
      order by e.completed_at limit $1`,
    [limit],
  )
  return rows.map(([erasureId]) => erasureId as string)
}

export async function markRechecked(session: DbSession, erasureIds: readonly string[]): Promise<void> {
  await session.query(
    `update starcite.erasures e set rechecked = true where e.erasure_id = any ($1::bigint[]) and e.state = 'done'`,
    [erasureIds],
  )
}

export interface ErasureStatus {
  readonly pending: number
  /** Since the oldest of them was asked for. */
  readonly oldestSeconds: number
}

export async function erasureStatus(session: DbSession): Promise<ErasureStatus> {
  const [row] = await session.query(
    `select count(*), coalesce(extract(epoch from clock_timestamp() - min(e.requested_at)), 0)
       from starcite.erasures e where e.state = 'pending'`,
  )
  return { pending: Number(row?.[0] ?? 0), oldestSeconds: Number(row?.[1] ?? 0) }
}
