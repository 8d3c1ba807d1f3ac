import { EVENT_COLUMNS } from '../../db/eventRows.ts'
import type { Db } from '../../db/pool.ts'
import { parseBody, type SignedCheckpoint } from '../checkpoints/checkpoint.ts'

export interface ProvenSession {
  readonly sid: string
  readonly lastSeq: number
  /** How far checkpoints cover it, and the newest of those that do; undefined: not at all. */
  readonly covered: { readonly lastSeq: number; readonly number: number } | undefined
}

export async function findSession(
  db: Db,
  tenantId: string,
  sessionId: string,
): Promise<ProvenSession | undefined> {
  const [row] = await db.query(
    {
      text: `select s.sid, h.last_seq, c.last_seq, c.number
               from starcite.sessions s
               join starcite.session_heads h on h.sid = s.sid
               left join starcite.checkpoint_heads c on c.sid = s.sid
              where s.tenant_id = $1 and s.id = $2`,
    },
    [tenantId, sessionId],
  )
  if (row === undefined) return undefined
  const [sid, lastSeq, coveredSeq, number] = row
  const covered = number == null ? undefined : { lastSeq: Number(coveredSeq), number: Number(number) }
  return { sid: sid as string, lastSeq: Number(lastSeq), covered }
}

/** Columns beside those of the frame; see readHot. */
const HASHES = `encode(e.salt, 'hex'), encode(e.content_digest, 'hex'), encode(e.hash, 'hex')`

/** Rows of the hot events of a range, in order, `limit` at most: salt, digest and hash in hexadecimal, then EVENT_COLUMNS. */
export function readHot(
  db: Db,
  sid: string,
  from: number,
  to: number,
  limit: number,
): Promise<readonly (readonly (string | null)[])[]> {
  const text = `select ${HASHES}, ${EVENT_COLUMNS} from starcite.events e
                 where e.sid = $1 and e.seq between $2 and $3 order by e.seq limit $4`
  return db.query({ text }, [sid, from, to, limit])
}

/** Where a run of one session's events lies. */
export interface ColdRun {
  readonly key: string
  readonly firstSeq: number
  readonly lastSeq: number
  readonly offset: number
  readonly bytes: number
  readonly sha256: string
}

/** The first slice that has events of the range; undefined when none has. */
export async function firstRun(db: Db, sid: string, from: number, to: number): Promise<ColdRun | undefined> {
  const [row] = await db.query(
    {
      text: `select o.key, s.first_seq, s.last_seq, s.byte_offset, s.bytes, encode(s.sha256, 'hex')
               from starcite.slices s
               join starcite.objects o on o.object_id = s.object_id
               join starcite.segments g on g.name = o.segment and g.state in ('moved', 'dropped')
              where s.sid = $1 and s.last_seq >= $2 and s.first_seq <= $3
              order by s.first_seq limit 1`,
    },
    [sid, from, to],
  )
  return (
    row && {
      key: row[0] as string,
      firstSeq: Number(row[1]),
      lastSeq: Number(row[2]),
      offset: Number(row[3]),
      bytes: Number(row[4]),
      sha256: row[5] as string,
    }
  )
}

/** Whether the event's content is erased, also where an object still has it for a while. */
export async function isErased(db: Db, sid: string, seq: number): Promise<boolean> {
  const [row] = await db.query(
    {
      text: `select exists (select from starcite.erasures e
                             where e.sid = $1 and $2 between e.first_seq and e.last_seq)
                 or (select h.erased from starcite.session_heads h where h.sid = $1)`,
    },
    [sid, seq],
  )
  return row?.[0] === 't'
}

/** Checkpoints that were taken at or after an event's time, up to one; the first of them, in order. */
export async function checkpointsAfter(
  db: Db,
  time: string,
  until: number,
  limit: number,
): Promise<SignedCheckpoint[]> {
  const rows = await db.query(
    {
      text: `(select c.body, encode(c.signature, 'hex'), c.leaves_key from starcite.checkpoints c
               where c.taken_at >= $1 and c.number < $2 and c.leaves > 0 order by c.number limit $3)
             union all
             select c.body, encode(c.signature, 'hex'), c.leaves_key from starcite.checkpoints c where c.number = $2`,
    },
    [time, until, limit],
  )
  return rows.map(([body, signature, leavesKey]) => {
    const parsed = parseBody(body as string)
    if (parsed === undefined) throw new Error('the body of a checkpoint in the table is not one')
    return {
      ...parsed,
      body: body as string,
      signature: Buffer.from(signature as string, 'hex'),
      leavesKey: leavesKey ?? undefined,
    }
  })
}
