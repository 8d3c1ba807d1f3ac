import type { DbSession } from '../../db/session.ts'
import { parseBody, type SignedCheckpoint } from './checkpoint.ts'
import { IS_OPEN, recordDiscontinuities } from './contradictionQueries.ts'
import type { Leaf } from './leaf.ts'

// All of these run on the one connection that holds the lock, so a job that lost the lock records nothing more.

export interface CheckpointStatus {
  /** The number of the newest checkpoint; 0 when there is none. */
  readonly number: number
  /** Seconds since the newest checkpoint, by the database's clock; 0 when there is none. */
  readonly ageSeconds: number
  /** Logs that contradict what was signed, and that no checkpoint has recorded as acknowledged. */
  readonly contradictions: number
}

export async function checkpointStatus(session: DbSession): Promise<CheckpointStatus> {
  const [row] = await session.query(
    `select c.number, extract(epoch from clock_timestamp() - c.taken_at), k.open
       from (select count(*) as open from starcite.checkpoint_contradictions k where ${IS_OPEN}) k
       left join (select * from starcite.checkpoints c order by c.number desc limit 1) c on true`,
  )
  return {
    number: Number(row?.[0] ?? 0),
    ageSeconds: Number(row?.[1] ?? 0),
    contradictions: Number(row?.[2] ?? 0),
  }
}

export interface Last {
  readonly number: number
  readonly sha256: string
}

export async function lastCheckpoint(session: DbSession): Promise<Last | undefined> {
  const [row] = await session.query(
    `select c.number, encode(c.sha256, 'hex') from starcite.checkpoints c order by c.number desc limit 1`,
  )
  return row && { number: Number(row[0]), sha256: row[1] as string }
}

/**
 * Clears the gathered heads. Returns the time of the next checkpoint: before that of any later head, and never before
 * that of the last checkpoint.
 */
export async function beginGathering(session: DbSession): Promise<string> {
  await session.query('truncate starcite.checkpoint_moved')
  const [row] = await session.query(
    'select starcite.wire_time(greatest(clock_timestamp(), (select max(c.taken_at) from starcite.checkpoints c)))',
  )
  return row?.[0] as string
}

/** The highest sid that a session has, or had. */
export async function lastSid(session: DbSession): Promise<bigint> {
  const [row] = await session.query(
    'select greatest((select max(h.sid) from starcite.session_heads h), (select max(c.sid) from starcite.checkpoint_heads c))',
  )
  return BigInt(row?.[0] ?? 0)
}

export interface Gathered {
  readonly count: number
  /** The last sid that was examined. */
  readonly through: bigint
}

/**
 * Copies the heads that have moved since they were last covered, for sids after one and up to another, at most
 * `most`, without the sessions whose log contradicts what was signed. The range is stated for each table, because
 * Postgres does not infer it from another table and would scan the whole.
 */
export async function gatherMoved(
  session: DbSession,
  after: bigint,
  upTo: bigint,
  most: number,
): Promise<Gathered> {
  const [row] = await session.query(
    `with moved as materialized (
       select h.sid, h.last_seq, h.chain_hash
         from starcite.session_heads h
         left join starcite.checkpoint_heads c on c.sid = h.sid and c.sid > $1 and c.sid <= $2
        where h.sid > $1 and h.sid <= $2 and h.last_seq > coalesce(c.last_seq, 0)
          and not exists (select from starcite.checkpoint_contradictions k
                            join starcite.sessions s on s.tenant_id = k.tenant_id and s.id = k.session_id
                           where s.sid = h.sid and ${IS_OPEN})
        order by h.sid
        limit $3
     ), copied as (
       insert into starcite.checkpoint_moved (tenant_id, session_id, sid, last_seq, chain_hash)
       select s.tenant_id, s.id, m.sid, m.last_seq, m.chain_hash
         from moved m join starcite.sessions s on s.sid = m.sid and s.sid > $1 and s.sid <= $2
     )
     select count(*), max(m.sid) from moved m`,
    [after, upTo, most],
  )
  const count = Number(row?.[0])
  return { count, through: count === most ? BigInt(row?.[1] as string) : upTo }
}

/** The number of gathered heads. */
export async function countMoved(session: DbSession): Promise<number> {
  const [row] = await session.query('select count(*) from starcite.checkpoint_moved')
  return Number(row?.[0])
}

/** The object with the leaves of a checkpoint; undefined when it has no leaves. */
export async function leavesKeyOf(session: DbSession, number: number): Promise<string | undefined> {
  const [row] = await session.query('select c.leaves_key from starcite.checkpoints c where c.number = $1', [
    number,
  ])
  return row?.[0] ?? undefined
}

/** The next gathered heads after a leaf, in the order of the tree. */
export async function readMoved(
  session: DbSession,
  after: Pick<Leaf, 'tenantId' | 'sessionId'> | undefined,
  count: number,
): Promise<Leaf[]> {
  const rows = await session.query(
    `select m.tenant_id, m.session_id, m.last_seq, encode(m.chain_hash, 'hex'),
            k.number, k.signed_seq, encode(k.signed_hash, 'hex'), k.acknowledged_reason
       from starcite.checkpoint_moved m
       left join starcite.checkpoint_contradictions k on k.id = m.contradiction_id
      where (m.tenant_id, m.session_id) > ($1, $2)
      order by m.tenant_id, m.session_id limit $3`,
    [after?.tenantId ?? '', after?.sessionId ?? '', count],
  )
  return rows.map(([tenantId, sessionId, seq, hash, number, signedSeq, signedHash, reason]) => ({
    tenantId: tenantId as string,
    sessionId: sessionId as string,
    seq: Number(seq),
    hash: hash as string,
    ...(number != null && {
      discontinuity: {
        number: Number(number),
        seq: Number(signedSeq),
        hash: signedHash as string,
        reason: reason as string,
      },
    }),
  }))
}

async function insertCheckpoint(session: DbSession, it: SignedCheckpoint, sha256: string): Promise<void> {
  await session.query(
    `insert into starcite.checkpoints (number, body, signature, sha256, root, leaves, taken_at, key_id, leaves_key)
       values ($1, $2, decode($3, 'hex'), decode($4, 'hex'), decode($5, 'hex'), $6, $7, $8, $9)`,
    [
      it.number,
      it.body,
      it.signature.toString('hex'),
      sha256,
      it.root,
      it.leaves,
      it.time,
      it.keyId,
      it.leavesKey ?? null,
    ],
  )
}

const NOTES_PER_STATEMENT = 2000

/**
 * Records a checkpoint; its commit is the moment from which the checkpoint exists. Rejects, with nothing changed,
 * when one of its number exists. Awaits `rest` after each of its statements.
 */
export async function noteCheckpoint(
  session: DbSession,
  it: SignedCheckpoint,
  sha256: string,
  rest: (started: number) => Promise<void>,
): Promise<void> {
  await session.transaction(async () => {
    await insertCheckpoint(session, it, sha256)
    for (let after: readonly (string | null)[] | undefined = ['', '']; after; ) {
      const started = performance.now()
      const rows: readonly (readonly (string | null)[])[] = await session.query(
        `with noted as materialized (
           select m.* from starcite.checkpoint_moved m where (m.tenant_id, m.session_id) > ($2, $3)
            order by m.tenant_id, m.session_id limit $4
         ), written as (
           insert into starcite.checkpoint_heads as c (sid, last_seq, number, hash, hash_number)
           select n.sid, n.last_seq, $1, n.chain_hash, $1 from noted n where n.sid is not null
               on conflict (sid) do update set last_seq = excluded.last_seq, number = excluded.number,
                                               hash = excluded.hash, hash_number = excluded.hash_number
         )
         select n.tenant_id, n.session_id from noted n order by n.tenant_id desc, n.session_id desc limit 1`,
        [it.number, after[0], after[1], NOTES_PER_STATEMENT],
      )
      after = rows[0]
      await rest(started)
    }
    await recordDiscontinuities(session, it.number)
    await session.query('truncate starcite.checkpoint_moved')
  })
}

const LEAVES_PER_STATEMENT = 5000

/**
 * Records a checkpoint that is in the object store. A log that a restore has set back or lost contradicts it, and is
 * found when heads are next compared; sessions that no longer exist are recorded here.
 */
export async function noteAgain(
  session: DbSession,
  it: SignedCheckpoint,
  sha256: string,
  leaves: readonly Leaf[],
): Promise<void> {
  await session.transaction(async () => {
    await insertCheckpoint(session, it, sha256)
    for (let i = 0; i < leaves.length; i += LEAVES_PER_STATEMENT) {
      const some = leaves.slice(i, i + LEAVES_PER_STATEMENT)
      await session.query(
        `with l as (
           select s.sid, l.tenant_id, l.session_id, l.seq, decode(l.hash, 'hex') as hash
             from unnest($2::text[], $3::text[], $4::bigint[], $5::text[]) as l (tenant_id, session_id, seq, hash)
             left join starcite.sessions s on s.tenant_id = l.tenant_id and s.id = l.session_id
         ), lost as (
           insert into starcite.checkpoint_contradictions (tenant_id, session_id, number, signed_seq, signed_hash, reason)
           select l.tenant_id, l.session_id, $1, l.seq, l.hash, 'gone' from l
            where l.sid is null and l.seq > 0
              and not exists (select from starcite.checkpoint_contradictions k
                               where k.tenant_id = l.tenant_id and k.session_id = l.session_id and ${IS_OPEN})
         )
         insert into starcite.checkpoint_heads as c (sid, last_seq, number, hash, hash_number)
         select l.sid, l.seq, $1, l.hash, $1 from l where l.sid is not null
             on conflict (sid) do update set last_seq = excluded.last_seq, number = excluded.number,
                                             hash = excluded.hash, hash_number = excluded.hash_number`,
        [
          it.number,
          some.map((l) => l.tenantId),
          some.map((l) => l.sessionId),
          some.map((l) => l.seq),
          some.map((l) => l.hash),
        ],
      )
    }
  })
}

/** The columns of a checkpoint `c`. */
export const COLUMNS = `c.body, encode(c.signature, 'hex'), c.leaves_key`

/** Decodes a row of COLUMNS. */
export function decode([body, signature, leavesKey]: readonly (string | null)[]): SignedCheckpoint {
  const parsed = parseBody(body as string)
  if (parsed === undefined)
    throw new Error('starcite.checkpoints has a body that does not have the form of a checkpoint')
  return {
    ...parsed,
    body: body as string,
    signature: Buffer.from(signature as string, 'hex'),
    leavesKey: leavesKey ?? undefined,
  }
}

/** The checkpoints that may not be in the object store yet, in order. */
export async function unstoredCheckpoints(session: DbSession): Promise<SignedCheckpoint[]> {
  const rows = await session.query(
    `select ${COLUMNS} from starcite.checkpoints c where c.stored_at is null order by c.number`,
  )
  return rows.map(decode)
}

export async function markStored(session: DbSession, number: number): Promise<void> {
  await session.query(
    'update starcite.checkpoints c set stored_at = clock_timestamp() where c.number = $1 and c.stored_at is null',
    [number],
  )
}
