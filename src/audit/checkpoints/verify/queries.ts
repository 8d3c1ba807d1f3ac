import type { Db } from '../../../db/pool.ts'
import { type Checkpoint, digestOf, parseBody } from '../checkpoint.ts'
import type { Leaf } from '../leaf.ts'
import type { CheckpointTable, Row } from './verify.ts'

export function checkpointTable(db: Db): CheckpointTable {
  return {
    numbers: async () =>
      (await db.query({ text: 'select c.number from starcite.checkpoints c order by c.number' }, [])).map(
        ([number]) => Number(number),
      ),
    read: async (numbers) => {
      const rows = await db.query(
        {
          text: `select c.number, c.body, encode(c.signature, 'hex'), c.leaves_key, c.stored_at is not null,
                        encode(c.sha256, 'hex'), encode(c.root, 'hex'), c.leaves, starcite.wire_time(c.taken_at), c.key_id
                   from starcite.checkpoints c where c.number = any ($1::bigint[])`,
        },
        [numbers],
      )
      return new Map(rows.map((row) => [Number(row[0]), decode(row)]))
    },
    highestCovering: async () =>
      Number(
        (await db.query({ text: 'select max(c.number) from starcite.checkpoint_heads c' }, []))[0]?.[0] ?? 0,
      ),
  }
}

/** The entry of a body that cannot be parsed; its text differs from that of every checkpoint. */
function decode([number, body, signature, leavesKey, isStored, ...columns]: readonly (string | null)[]): Row {
  const parsed = parseBody(body as string) ?? {
    previous: '',
    root: '',
    leaves: 0,
    discontinuities: 0,
    time: '',
    keyId: '',
  }
  return {
    ...parsed,
    number: Number(number),
    body: body as string,
    signature: Buffer.from(signature as string, 'hex'),
    leavesKey: leavesKey ?? undefined,
    isStored: isStored === 't',
    repeatsBody: columns.join() === columnsOf(body as string, parsed).join(),
  }
}

const columnsOf = (
  body: string,
  { root, leaves, time, keyId }: Omit<Checkpoint, 'number' | 'previous' | 'discontinuities'>,
) => [digestOf(body), root, leaves, time, keyId]

/** The state of a leaf's session and event. */
export interface Stored {
  /** The session's head; undefined when the session does not exist. */
  readonly head: { readonly seq: number; readonly hash: string } | undefined
  /** The hash of the event when it is hot. */
  readonly hash: string | undefined
  /** The location of the event when it is cold. */
  readonly cold: { readonly key: string; readonly offset: number; readonly bytes: number } | undefined
  /** The recorded coverage of the session, and the checkpoint that it names; undefined when there is none. */
  readonly covered: { readonly seq: number; readonly number: number } | undefined
}

const STORED = {
  name: 'stored_leaves',
  text: `select h.last_seq, encode(h.chain_hash, 'hex'),
                (select encode(e.hash, 'hex') from starcite.events e where e.sid = s.sid and e.seq = l.seq limit 1),
                c.key, c.byte_offset, c.bytes, k.last_seq, k.number
           from unnest($1::text[], $2::text[], $3::bigint[]) with ordinality as l (tenant_id, id, seq, o)
           left join starcite.sessions s on s.tenant_id = l.tenant_id and s.id = l.id
           left join starcite.session_heads h on h.sid = s.sid
           left join starcite.checkpoint_heads k on k.sid = s.sid
           left join lateral (
             select o.key, x.byte_offset, x.bytes
               from (select * from starcite.slices x where x.sid = s.sid and x.first_seq <= l.seq
                      order by x.first_seq desc limit 1) x
               join starcite.objects o on o.object_id = x.object_id
               join starcite.segments g on g.name = o.segment and g.state in ('moved', 'dropped')
              where x.last_seq >= l.seq) c on true
          order by l.o`,
}

/** In the order of the leaves. */
export async function storedOf(db: Db, leaves: readonly Leaf[]): Promise<Stored[]> {
  const rows = await db.query(STORED, [
    leaves.map((it) => it.tenantId),
    leaves.map((it) => it.sessionId),
    leaves.map((it) => it.seq),
  ])
  return rows.map(([lastSeq, headHash, hash, key, offset, bytes, coveredSeq, number]) => ({
    head: lastSeq == null ? undefined : { seq: Number(lastSeq), hash: headHash as string },
    hash: hash ?? undefined,
    cold: key == null ? undefined : { key, offset: Number(offset), bytes: Number(bytes) },
    covered: number == null ? undefined : { seq: Number(coveredSeq), number: Number(number) },
  }))
}

/** The number of sessions that each checkpoint covers, of those that cover any. */
export async function countCovered(db: Db): Promise<ReadonlyMap<number, number>> {
  const text = `select k.number, count(*) from starcite.checkpoint_heads k
                  join starcite.sessions s on s.sid = k.sid group by k.number`
  return new Map((await db.query({ text }, [])).map(([number, count]) => [Number(number), Number(count)]))
}

/** The sessions that a checkpoint covers, and up to which seq. */
export async function coveredBy(db: Db, number: number): Promise<Omit<Leaf, 'hash'>[]> {
  const text = `select s.tenant_id, s.id, k.last_seq from starcite.checkpoint_heads k
                  join starcite.sessions s on s.sid = k.sid where k.number = $1 order by s.tenant_id, s.id`
  return (await db.query({ text }, [number])).map(([tenantId, sessionId, seq]) => ({
    tenantId: tenantId as string,
    sessionId: sessionId as string,
    seq: Number(seq),
  }))
}

/** A checkpoint as it is listed, with the names of audit.checkpoints. */
export interface ListedCheckpoint {
  readonly number: number
  readonly time: string
  readonly leaves: number
  readonly root: string
  readonly previous: string
  readonly sha256: string
  readonly key_id: string
}

/** The checkpoints of the view, which auditors may read, too; newest first. */
export async function newestCheckpoints(db: Db, limit: number): Promise<ListedCheckpoint[]> {
  const rows = await db.query(
    {
      text: `select c.number, c.body::json ->> 'time', c.leaves, c.root, c.previous, c.sha256, c.key_id
               from audit.checkpoints c order by c.number desc limit $1`,
    },
    [limit],
  )
  return rows.map(([number, time, leaves, root, previous, sha256, keyId]) => ({
    number: Number(number),
    time: time as string,
    leaves: Number(leaves),
    root: root as string,
    previous: previous as string,
    sha256: sha256 as string,
    key_id: keyId as string,
  }))
}
