import type { DbSession } from '../../db/session.ts'

// All of these run on the one connection that holds the job's lock.

export interface Erasure {
  readonly erasureId: string
  readonly kind: 'session' | 'event' | 'segment'
  /** Null for an erasure of a segment. */
  readonly sid: string | null
  readonly firstSeq: number
  readonly lastSeq: number
  readonly vacuum: boolean
}

/** The next pending erasures, oldest first. */
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

/** Empties at most `limit` rows of a session from a seq on. Returns the last seq, or undefined at the end. */
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

/** The erasures, of those given, of sessions that have events in a segment which is being copied. */
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

/**
 * Vacuums and analyzes the tables that had the content of these erasures, and no others: this removes dead rows, and
 * the values that statistics quote. ANALYZE samples titles, small objects, and the salts and digests by which a guess
 * of the content could be confirmed.
 */
export async function vacuum(session: DbSession, erasures: readonly Erasure[]): Promise<void> {
  const ofSessions = erasures.some((it) => it.kind === 'session') ? ['sessions', 'session_changes'] : []
  const ofEvents = erasures.some((it) => it.kind !== 'segment') ? ['producers'] : []
  const tables = [...ofSessions, ...ofEvents, 'archive_objects', 'loaded_events'].map(
    (it) => `starcite.${it}`,
  )
  for (const table of [...tables, ...(await tablesOfEvents(session, erasures))])
    await session.query(`vacuum (analyze) ${table}`)
}

/** Names partitions one by one. Only an operator makes statistics of the whole table, and plans do not use them. */
async function tablesOfEvents(session: DbSession, erasures: readonly Erasure[]): Promise<string[]> {
  const rows = await session.query(
    `with whole as (select exists (select from pg_stats s where s.schemaname = 'starcite' and s.tablename = 'events') as is_known)
     select 'starcite.events' from whole w where w.is_known
     union all
     select i.inhrelid::regclass::text from pg_inherits i cross join whole w
      where i.inhparent = 'starcite.events'::regclass and not w.is_known
        and i.inhrelid in (select x.tableoid
                             from starcite.erasures e
                             join starcite.events x on x.sid = e.sid and x.seq between e.first_seq and e.last_seq
                            where e.erasure_id = any ($1::bigint[]))`,
    [erasures.map(({ erasureId }) => erasureId)],
  )
  return rows.map(([name]) => name as string)
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

/**
 * Erasures that have been done for so long that no write of a process which lost the job's lock is in progress any
 * more.
 */
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
  /** Since the oldest of them was requested. */
  readonly oldestSeconds: number
}

export async function erasureStatus(session: DbSession): Promise<ErasureStatus> {
  const [row] = await session.query(
    `select count(*), coalesce(extract(epoch from clock_timestamp() - min(e.requested_at)), 0)
       from starcite.erasures e where e.state = 'pending'`,
  )
  return { pending: Number(row?.[0] ?? 0), oldestSeconds: Number(row?.[1] ?? 0) }
}
