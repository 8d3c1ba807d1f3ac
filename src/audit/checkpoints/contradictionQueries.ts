import type { DbSession } from '../../db/session.ts'
import type { Leaf } from './leaf.ts'

// All of these run on the one connection that holds the lock.

/** Of a row `k` of starcite.checkpoint_contradictions: whether the session is kept out of checkpoints. */
export const IS_OPEN = 'k.resolved_at is null and k.recorded_number is null'

/** A log that is not what a checkpoint signed. */
export interface Contradiction {
  readonly id: string
  readonly tenantId: string | null
  readonly sessionId: string | null
  readonly sid: string | null
  readonly number: number
  readonly signedSeq: number
  readonly signedHash: string
  readonly foundSeq: number | null
  readonly reason: 'went_back' | 'changed' | 'gone'
}

const RETURNING = `k.id, k.tenant_id, k.session_id, k.sid, k.number, k.signed_seq, encode(k.signed_hash, 'hex'), k.found_seq, k.reason`

function decode(row: readonly (string | null)[]): Contradiction {
  const [id, tenantId, sessionId, sid, number, signedSeq, signedHash, foundSeq, reason] = row
  return {
    id: id as string,
    tenantId: tenantId ?? null,
    sessionId: sessionId ?? null,
    sid: sid ?? null,
    number: Number(number),
    signedSeq: Number(signedSeq),
    signedHash: signedHash as string,
    foundSeq: foundSeq == null ? null : Number(foundSeq),
    reason: reason as Contradiction['reason'],
  }
}

/** Checkpoints that were recorded by a build that kept no hashes, and that cover some of these sids. */
export async function numbersWithoutHashes(
  session: DbSession,
  after: bigint,
  upTo: bigint,
): Promise<number[]> {
  const rows = await session.query(
    `select distinct c.number from starcite.checkpoint_heads c
      where c.sid > $1 and c.sid <= $2 and c.hash_number is distinct from c.number and c.number > 0 order by 1`,
    [after, upTo],
  )
  return rows.map(([number]) => Number(number))
}

/** Records what a checkpoint signed of the sessions that it covers. */
export async function noteHashes(session: DbSession, number: number, leaves: readonly Leaf[]): Promise<void> {
  await session.query(
    `update starcite.checkpoint_heads c set hash = decode(l.hash, 'hex'), hash_number = c.number
       from unnest($2::text[], $3::text[], $4::text[], $5::bigint[]) as l (tenant_id, session_id, hash, seq)
       join starcite.sessions s on s.tenant_id = l.tenant_id and s.id = l.session_id
      where c.sid = s.sid and c.number = $1 and c.last_seq = l.seq and c.hash_number is distinct from c.number`,
    [
      number,
      leaves.map((it) => it.tenantId),
      leaves.map((it) => it.sessionId),
      leaves.map((it) => it.hash),
      leaves.map((it) => it.seq),
    ],
  )
}

/**
 * A difference between a session and what was signed of it. `cold`: unknown, because the signed event is not in
 * Postgres.
 */
export interface Suspect {
  readonly sid: string
  readonly tenantId: string | null
  readonly sessionId: string | null
  readonly number: number
  readonly signedSeq: number
  /** Null when unknown: the checkpoint's list of leaves is gone. */
  readonly signedHash: string | null
  readonly foundSeq: number | null
  readonly foundHash: string | null
  readonly reason: Contradiction['reason'] | 'cold'
}

/**
 * Compares the heads of the sids after one and up to another with what was signed of them. For a head that has moved
 * on, the event that was signed is compared.
 */
export async function suspects(session: DbSession, after: bigint, upTo: bigint): Promise<Suspect[]> {
  const rows = await session.query(
    `with c as materialized ( -- so that each event is looked for once
       select c.sid, h.last_seq, h.chain_hash, c.last_seq as signed_seq, c.number, c.signed_hash,
              case when h.last_seq > c.last_seq
                   then (select e.hash from starcite.events e where e.sid = c.sid and e.seq = c.last_seq limit 1) end as hash
         from (select c.*, case when c.hash_number = c.number then c.hash end as signed_hash
                 from starcite.checkpoint_heads c where c.sid > $1 and c.sid <= $2 and c.last_seq > 0) c
         left join (select * from starcite.session_heads h where h.sid > $1 and h.sid <= $2) h on h.sid = c.sid
     ), looked as (
       select c.*, case when c.last_seq is null then 'gone'
                        when c.last_seq < c.signed_seq then 'went_back'
                        when c.last_seq = c.signed_seq then case when c.chain_hash <> c.signed_hash then 'changed' end
                        when c.hash is null then 'cold'
                        when c.hash <> c.signed_hash then 'changed' end as reason
         from c
     )
     select l.sid, s.tenant_id, s.id, l.number, l.signed_seq, encode(l.signed_hash, 'hex'), l.last_seq,
            encode(case when l.last_seq > l.signed_seq then l.hash else l.chain_hash end, 'hex'), l.reason
       from looked l
       left join starcite.sessions s on s.sid = l.sid
      where l.reason is not null
        and not exists (select from starcite.checkpoint_contradictions k where k.sid = l.sid and ${IS_OPEN})`,
    [after, upTo],
  )
  return rows.map((row) => ({
    sid: row[0] as string,
    tenantId: row[1] ?? null,
    sessionId: row[2] ?? null,
    number: Number(row[3]),
    signedSeq: Number(row[4]),
    signedHash: row[5] ?? null,
    foundSeq: row[6] == null ? null : Number(row[6]),
    foundHash: row[7] ?? null,
    reason: row[8] as Suspect['reason'],
  }))
}

const UNKNOWN_HASH = '0'.repeat(64)

/** Records contradictions, and removes their sessions from what the next checkpoint signs. */
export async function noteContradictions(
  session: DbSession,
  found: readonly Suspect[],
): Promise<Contradiction[]> {
  if (found.length === 0) return []
  const rows = await session.query(
    `with noted as (
       insert into starcite.checkpoint_contradictions as k
              (tenant_id, session_id, sid, number, signed_seq, signed_hash, found_seq, found_hash, reason)
       select w.tenant_id, w.session_id, w.sid, w.number, w.signed_seq, decode(w.signed_hash, 'hex'), w.found_seq,
              decode(w.found_hash, 'hex'), w.reason
         from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[], $8::text[],
                     $9::text[])
                as w (tenant_id, session_id, sid, number, signed_seq, signed_hash, found_seq, found_hash, reason)
       returning ${RETURNING}
     ), kept_out as (
       delete from starcite.checkpoint_moved m where m.sid = any ($3::bigint[])
     )
     select n.* from noted n`,
    [
      found.map((it) => it.tenantId),
      found.map((it) => it.sessionId),
      found.map((it) => it.sid),
      found.map((it) => it.number),
      found.map((it) => it.signedSeq),
      found.map((it) => it.signedHash ?? UNKNOWN_HASH),
      found.map((it) => it.foundSeq),
      found.map((it) => it.foundHash),
      found.map((it) => it.reason),
    ],
  )
  return rows.map(decode)
}

/** Resolves the contradictions whose log is again what was signed, as far as Postgres can tell. */
export async function resolve(session: DbSession): Promise<void> {
  await session.query(
    `update starcite.checkpoint_contradictions k set resolved_at = clock_timestamp()
       from starcite.sessions s join starcite.session_heads h on h.sid = s.sid
      where ${IS_OPEN} and s.tenant_id = k.tenant_id and s.id = k.session_id and h.last_seq >= k.signed_seq
        and k.signed_hash = case when h.last_seq = k.signed_seq then h.chain_hash
                                 else (select e.hash from starcite.events e
                                        where e.sid = h.sid and e.seq = k.signed_seq limit 1) end`,
  )
}

/** The logs that are not what was signed, and that no operator has acknowledged. */
export async function openContradictions(session: DbSession): Promise<Contradiction[]> {
  const rows = await session.query(
    `select ${RETURNING} from starcite.checkpoint_contradictions k
      where ${IS_OPEN} and k.acknowledged_at is null order by k.id`,
  )
  return rows.map(decode)
}

/**
 * Adds a leaf for every acknowledged discontinuity that no checkpoint has recorded: of the log as it is now, or of a
 * log without events when the session is gone. Returns the number of leaves.
 */
export async function gatherDiscontinuities(session: DbSession, most: number): Promise<number> {
  const rows = await session.query(
    `insert into starcite.checkpoint_moved (tenant_id, session_id, sid, last_seq, chain_hash, contradiction_id)
     select k.tenant_id, k.session_id, s.sid, coalesce(h.last_seq, 0),
            coalesce(h.chain_hash, starcite.genesis_hash(k.tenant_id, k.session_id)), k.id
       from (select distinct on (k.tenant_id, k.session_id) k.*
               from starcite.checkpoint_contradictions k
              where ${IS_OPEN} and k.acknowledged_at is not null and k.tenant_id is not null
              order by k.tenant_id, k.session_id, k.number desc limit $1) k
       left join starcite.sessions s on s.tenant_id = k.tenant_id and s.id = k.session_id
       left join starcite.session_heads h on h.sid = s.sid
     returning contradiction_id`,
    [most],
  )
  return rows.length
}

/** Marks the discontinuities that a checkpoint has recorded. Call it in the transaction that records the checkpoint. */
export async function recordDiscontinuities(session: DbSession, number: number): Promise<void> {
  await session.query(
    `with recorded as (
       update starcite.checkpoint_contradictions k set recorded_number = $1
         from starcite.checkpoint_moved m
        where m.contradiction_id is not null and m.tenant_id = k.tenant_id and m.session_id = k.session_id
          and ${IS_OPEN} and k.acknowledged_at is not null
       returning k.sid, m.sid as sid_now
     )
     delete from starcite.checkpoint_heads c using recorded r where c.sid = r.sid and r.sid is distinct from r.sid_now`,
    [number],
  )
}

/** The location of an event in an object, in its session's slice. */
export interface Location {
  readonly key: string
  readonly offset: number
  readonly bytes: number
}

const PLACES = `
  select encode(e.hash, 'hex'), o.key, o.byte_offset, o.bytes
    from unnest($1::bigint[], $2::bigint[]) with ordinality as w (sid, seq, n)
    left join lateral (select e.hash from starcite.events e where e.sid = w.sid and e.seq = w.seq limit 1) e on true
    left join lateral (
      select o.key, x.byte_offset, x.bytes
        from (select * from starcite.slices x where x.sid = w.sid and x.first_seq <= w.seq order by x.first_seq desc limit 1) x
        join starcite.objects o on o.object_id = x.object_id
        join starcite.segments g on g.name = o.segment and g.state in ('moved', 'dropped')
       where x.last_seq >= w.seq) o on true
   order by w.n`

/** The hash of each signed event when it is in Postgres, else the location that the manifest has. */
export async function locationsOf(
  session: DbSession,
  suspects: readonly Suspect[],
): Promise<{ readonly hash: string | undefined; readonly location: Location | undefined }[]> {
  const rows = await session.query(PLACES, [suspects.map((it) => it.sid), suspects.map((it) => it.signedSeq)])
  return rows.map(([hash, key, offset, bytes]) => ({
    hash: hash ?? undefined,
    location: key == null ? undefined : { key, offset: Number(offset), bytes: Number(bytes) },
  }))
}
