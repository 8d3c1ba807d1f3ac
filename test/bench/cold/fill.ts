import { insertChained } from '../../support/chainedEvents.ts'
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

// Appending a million takes a minute.
const FILL = insertChained(`
  select s.sid, n / cardinality($1::text[]) + 1 as seq, $4::timestamptz + n * interval '1 microsecond' as at,
         'content.delta'::text as type, case n % 2 when 0 then 'agent:drafter' else 'agent:reviewer' end as actor,
         p.p as payload, uuid_send(gen_random_uuid()) as salt
    from generate_series(0, $3::int - 1) n
    join (select s.sid, w.o - 1 as o
            from unnest($1::text[]) with ordinality w (id, o)
            join starcite.sessions s on s.tenant_id = 'default' and s.id = w.id) s on s.o = n % cardinality($1::text[])
    join (select p, o - 1 as o from unnest($2::json[]) with ordinality p (p, o)) p on p.o = n % cardinality($2::json[])`)

/** A segment that is due, in the state in which one is after its retention: vacuumed and on the disk. */
export async function fillSegment({ url, sessions, events }: Fill): Promise<string> {
  const [made] = await query(
    url,
    `select starcite.ensure_segment(t.at) as name, (t.at)::text as at
       from (select coalesce(min(g.from_at), clock_timestamp()) - make_interval(days => $1) as at
               from starcite.segments g) t`,
    [FIRST_AGE_DAYS],
  )
  const payloads = agentEvents(PAYLOADS).map((event) => JSON.stringify(event.payload))
  await query(url, FILL, [sessions, payloads, events, made!.at])
  await query(url, `vacuum (analyze) starcite.${made!.name}`)
  await query(url, 'checkpoint')
  return String(made!.name)
}
