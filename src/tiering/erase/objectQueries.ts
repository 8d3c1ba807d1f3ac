import type { DbSession } from '../../db/session.ts'
import type { OldSlice, Redaction, Rewritten } from './rewrite.ts'

// All of these run on the one connection that holds the job's lock.

export interface OldObject {
  readonly objectId: string
  readonly key: string
  readonly tenantId: string
  readonly segment: string
}

/** Objects that may hold content which these erasures cover, without those that the erasures are done with. */
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

/** The slices of an object, in its order, each with the ranges to remove from it. Events under a legal hold stay. */
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

/** Switches readers from the old object to the new one, and marks the old one for deletion. */
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
  if (replaced.length !== 1)
    throw new Error(`object ${key} was replaced by a connection that does not hold the job's lock`)
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
  await forgetDigests(session, objectId, erasureIds)
  await session.query('select starcite.content_removed($1::bigint[])', [sids])
  // The lock on the heads orders this with legal holds: a hold commits before this, or finds the content gone.
  const [held] = await session.query(
    `select l.sid from starcite.legal_holds l
      where l.sid = any ($1::bigint[])
        and not exists (select from starcite.erasures e where e.erasure_id = any ($2::bigint[]) and e.sid = l.sid)`,
    [sids, erasureIds],
  )
  if (held) throw new Error(`session ${held[0]} was put under a legal hold meanwhile`)
}

/**
 * Empties the digests of events that erasures by age take out of the object, because a digest without a salt would
 * confirm a guess of the content. No event has an empty digest, so a retry is refused as a different event. Other
 * erasures do so when they are requested.
 */
async function forgetDigests(
  session: DbSession,
  objectId: string,
  erasureIds: readonly string[],
): Promise<void> {
  await session.query(
    `update starcite.producers p set digest = ''
       from starcite.slices s
       join starcite.objects o on o.object_id = s.object_id
      where s.object_id = $1 and p.sid = s.sid and p.seq between s.first_seq and s.last_seq and p.digest <> ''
        and exists (select from starcite.erasures e
                     where e.erasure_id = any ($2::bigint[]) and e.kind = 'segment' and e.segment = o.segment
                       and e.tenant_id = o.tenant_id)
        and not exists (select from starcite.legal_holds l where l.sid = s.sid)`,
    [objectId, erasureIds],
  )
}

/** Records that these erasures are done with the object, and how many events of it they covered. */
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
