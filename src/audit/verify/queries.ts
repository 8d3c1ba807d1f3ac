import type { Db } from '../../db/pool.ts'
import { coldUntilOf } from '../read/queries.ts'
import type { ColdObject, SessionHead } from '../read/scope.ts'

// One statement, so that all that it compares is of one snapshot.
const STRAYS = {
  name: 'audit_strays',
  text: `select w.sid, max(h.last_seq), min(e.seq) filter (where e.seq > h.last_seq), min(e.seq) filter (where e.seq <= c.cold_until)
           from unnest($1::bigint[]) as w (sid)
           join starcite.session_heads h on h.sid = w.sid
          cross join lateral ${coldUntilOf('w.sid')} c
          cross join lateral (select e.seq from starcite.events e where e.sid = w.sid and e.seq > h.last_seq
                              union all
                              select e.seq from starcite.events e where e.sid = w.sid and e.seq <= c.cold_until
                              union all
                              select c.cold_until where c.cold_until > h.last_seq) e
          group by w.sid`,
}

/** Events that must not exist: after the head, or in Postgres although an object has them. */
export interface Stray {
  readonly sid: string
  readonly lastSeq: number
  readonly behindHead: number | undefined
  readonly inBothTiers: number | undefined
}

export async function findStrays(db: Db, sessions: readonly SessionHead[]): Promise<Stray[]> {
  const rows = await db.query(STRAYS, [sessions.map((it) => it.sid)])
  const orNone = (value: string | null | undefined) => (value == null ? undefined : Number(value))
  return rows.map(([sid, lastSeq, behindHead, inBothTiers]) => ({
    sid: sid as string,
    lastSeq: Number(lastSeq),
    behindHead: orNone(behindHead),
    inBothTiers: orNone(inBothTiers),
  }))
}

const ERASED_RANGES = {
  name: 'audit_erased_ranges',
  text: `select e.first_seq, e.last_seq from starcite.erasures e where e.sid = $1
          union all
         select s.first_seq, s.last_seq
           from starcite.slices s
           join starcite.objects o on o.object_id = s.object_id
           join starcite.erasures e on e.kind = 'segment' and e.segment = o.segment and e.tenant_id = o.tenant_id
          where s.sid = $1
          order by 1`,
}

/** The ranges of a session whose erasure was requested. */
export async function erasedRanges(db: Db, sid: string): Promise<[number, number][]> {
  const rows = await db.query(ERASED_RANGES, [sid])
  return rows.map(([first, last]) => [Number(first), Number(last)])
}

const OBJECT = {
  name: 'audit_object',
  text: `select o.key, o.bytes, encode(o.sha256, 'hex'), o.segment, n.tenant_id, n.id, s.first_seq
           from starcite.objects o
           join lateral (select * from starcite.slices s where s.object_id = o.object_id order by s.byte_offset limit 1) s on true
           join starcite.sessions n on n.sid = s.sid
          where o.object_id = $1`,
}

/** An object as the manifest has it now, and the first event in it. */
export interface ObjectNow extends ColdObject {
  readonly first: { readonly tenant: string; readonly session: string; readonly seq: number }
}

export async function objectNow(db: Db, id: string): Promise<ObjectNow | undefined> {
  const [row] = await db.query(OBJECT, [id])
  if (row === undefined) return undefined
  const [key, bytes, sha256, segment, tenant, session, seq] = row as string[]
  return {
    id,
    key: key as string,
    bytes: Number(bytes),
    sha256: sha256 as string,
    segment: segment as string,
    first: { tenant: tenant as string, session: session as string, seq: Number(seq) },
  }
}
