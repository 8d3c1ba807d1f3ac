import { query } from '../lab.ts'
import { agentEvents } from '../payloads.ts'

export interface Fill {
  readonly url: string
  /** They must have no events yet; each gets as many. */
  readonly sessions: readonly string[]
  readonly events: number
}

/** Of the past enough to be due under the default retention, each a day before the last. */
const FIRST_AGE_DAYS = 2
const PAYLOADS = 997

// As append_events leaves them, but for the hashes, which nothing here verifies: appending a million takes a minute.
const FILL = `
  with s as (select s.sid, w.o - 1 as o
               from unnest($1::text[]) with ordinality w (id, o)
               join starcite.sessions s on s.tenant_id = 'default' and s.id = w.id),
       p as (select p, o - 1 as o from unnest($2::json[]) with ordinality p (p, o)),
       n as (select n from generate_series(0, $3::int - 1) n),
       head as (update starcite.session_heads h set last_seq = $3 / cardinality($1::text[])
                  from s where h.sid = s.sid)
  insert into starcite.events (sid, seq, inserted_at, type, actor, payload, metadata, refs, salt, content_digest, hash,
                               chain_version)
  select s.sid, n / cardinality($1::text[]) + 1, $4::timestamptz + n * interval '1 microsecond', 'content.delta',
         case n % 2 when 0 then 'agent:drafter' else 'agent:reviewer' end, p.p, '{}', '{}',
         uuid_send(gen_random_uuid()), sha256(int8send(n)), sha256(int8send(-n)), 2
    from n
    join s on s.o = n % cardinality($1::text[])
    join p on p.o = n % cardinality($2::json[])
   order by n`

/** A segment that is due, in the state in which one is after its retention: vacuumed and on the disk. */
export async function fillSegment({ url, sessions, events }: Fill): Promise<string> {
  const [made] = await query(
    url,
    `select starcite.ensure_segment(t.at) as name, (t.at)::text as at
       from (select coalesce(min(g.from_at), clock_timestamp()) - make_interval(days => $1) as at
               from starcite.segments g) t`,
    [FIRST_AGE_DAYS],
  )
  const payloads = agentEvents(PAYLOADS).map((it) => JSON.stringify(it.payload))
  await query(url, FILL, [sessions, payloads, events, made!.at])
  await query(url, `vacuum (analyze) starcite.${made!.name}`)
  await query(url, 'checkpoint')
  return String(made!.name)
}
