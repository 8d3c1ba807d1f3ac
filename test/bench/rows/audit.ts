import { migrate } from '../../../src/db/migrate.ts'
import { createLog } from '../../../src/ops/log.ts'
import { createSessions, type Lab, query } from '../lab.ts'
import { agentEvents } from '../payloads.ts'
import { median } from '../stats.ts'
import type { Case, Row } from './case.ts'

const SESSIONS = 200
const MILLION = 1_000_000
const VERIFICATIONS = 3
const PAYLOADS = 997

const NOTHING = `'\\x${'00'.repeat(32)}'::bytea`
/** What append_events hashes, and what is put in its place; each must be found once. */
const HASHING: readonly [RegExp, string][] = [
  [/starcite\.content_digest\(v_salt, [^()]*\)/g, NOTHING],
  [/sha256\(c_before_hash \|\| v_head\.chain_hash [^;]*\)(?=;)/g, NOTHING],
  [
    /starcite\.content_digest\(v_salts\[o\], p_payloads\[o\], coalesce\([^()]*\),\s+coalesce\([^()]*\)\)/g,
    NOTHING,
  ],
  [/starcite\.event_fields\([^()]*\) \|\| starcite\.framed\(p_subjects\[o\]\)/g, `''::text`],
  [/starcite\.framed\(v_wire_at\)/g, `''::text`],
  [
    /sha256\(c_before_hash \|\| v_hash \|\| c_before_digest \|\| v_content_digests\[v_o\][^;]*\)(?=;)/g,
    NOTHING,
  ],
]

/** The same single appends with the chain, and with hashing switched off in the procedure: here, and nowhere else. */
export function chainCases(lab: Lab): Case[] {
  return [
    sqlCase(lab, 'chained'),
    sqlCase(lab, 'unchained'),
    httpCase(lab, 'chained'),
    httpCase(lab, 'unchained'),
  ]
}

type Build = 'chained' | 'unchained'
const NAMES: Readonly<Record<Build, string>> = {
  chained: 'with the chain',
  unchained: 'hashing switched off',
}

function sqlCase(lab: Lab, build: Build): Case {
  return {
    id: `${build}-1`,
    group: 'chain',
    name: `append_events by SQL, 1 connection, 1 a call, ${NAMES[build]}`,
    prepare: async () => {
      await databaseOf(lab, build)
      return { postgres: (await lab.postgres()).pid, load: (await lab.load()).pid }
    },
    run: async (seconds) => {
      const { url, sessions } = await databaseOf(lab, build)
      return (await lab.load()).call('direct', { url, sessions, connections: 1, perCall: 1, seconds })
    },
  }
}

function httpCase(lab: Lab, build: Build): Case {
  const node = async () => {
    await databaseOf(lab, build)
    return lab.nodeOn(build, build)
  }
  return {
    id: `${build}-64`,
    group: 'chain',
    name: `append, 64 connections, ${NAMES[build]}`,
    prepare: async () => ({
      server: (await node()).pid,
      postgres: (await lab.postgres()).pid,
      load: (await lab.load()).pid,
    }),
    run: async (seconds) => {
      const [{ port }, { sessions }] = [await node(), await databaseOf(lab, build)]
      return (await lab.load()).call('http', { port, sessions, connections: 64, seconds })
    },
  }
}

function databaseOf(lab: Lab, build: Build): Promise<{ url: string; sessions: readonly string[] }> {
  return lab.once(`the ${build} database`, async () => {
    const url = await lab.database(build)
    await migrate(url, '0.0.0', createLog('silent'))
    if (build === 'unchained') await switchHashingOff(url)
    return { url, sessions: await createSessions(url, 'chain', SESSIONS) }
  })
}

async function switchHashingOff(url: string): Promise<void> {
  const [row] = await query(
    url,
    `select pg_get_functiondef(p.oid) as definition from pg_proc p
      where p.pronamespace = 'starcite'::regnamespace and p.proname = 'append_events' order by p.pronargs desc limit 1`,
  )
  await query(url, withoutHashing(String(row!.definition)))
}

/** The definition of append_events without hashing. Throws when the definition has changed and this file has not. */
export function withoutHashing(definition: string): string {
  return HASHING.reduce((text, [hashing, instead]) => {
    const found = text.match(hashing)?.length ?? 0
    if (found !== 1) throw new Error(`append_events has ${found} places like ${hashing}`)
    return text.replace(hashing, () => instead)
  }, definition)
}

export const VERIFY = {
  id: 'verify-sql',
  group: 'audit',
  name: 'audit.verify of a session of 1,000,000 events',
} as const

// As append_events leaves them, hashes included.
const FILL = `
  with p as (select p, o - 1 as o from unnest($2::json[]) with ordinality p (p, o)),
       e as (select n, $3::timestamptz + n * interval '1 microsecond' as at, p.p as payload, s.salt,
                    case n % 2 when 0 then 'agent:drafter' else 'agent:reviewer' end as actor,
                    starcite.content_digest(s.salt, p.p, '{}', '{}') as digest
               from generate_series(1, $4::bigint) n
               join p on p.o = n % cardinality($2::json[])
              cross join lateral (select uuid_send(gen_random_uuid()) as salt where n > 0 offset 0) s)
  insert into starcite.events (sid, seq, inserted_at, type, actor, payload, metadata, refs, salt, content_digest,
                               chain_version, hash)
  select s.sid, e.n, e.at, 'content.delta', e.actor, e.payload, '{}', '{}', e.salt, e.digest, 1,
         starcite.chain(starcite.genesis_hash(s.tenant_id, s.id),
                        starcite.event_link(e.n, e.at, 'content.delta', e.actor, null, null, null, null, e.digest))
           over (order by e.n)
    from e join starcite.sessions s on s.tenant_id = 'default' and s.id = $1`

export async function verifyRow(lab: Lab): Promise<Row> {
  const url = await lab.database('verified')
  await migrate(url, '0.0.0', createLog('silent'))
  const [session] = await createSessions(url, 'verify', 1)
  const [made] = await query(
    url,
    'select clock_timestamp()::text as at, starcite.ensure_segment(clock_timestamp())',
  )
  const payloads = agentEvents(PAYLOADS).map((event) => JSON.stringify(event.payload))
  await query(url, FILL, [session, payloads, made!.at, MILLION])
  await query(
    url,
    `update starcite.session_heads h set last_seq = e.seq, chain_hash = e.hash, last_event_at = e.inserted_at
       from starcite.events e where e.sid = h.sid and e.seq = $1`,
    [MILLION],
  )
  await query(url, 'vacuum (analyze) starcite.events')
  await query(url, 'checkpoint')
  const rounds: number[] = []
  for (let n = 0; n < VERIFICATIONS; n += 1) {
    const started = performance.now()
    const [found] = await query(url, `select v.ok, v.events::int from audit.verify('default', $1) v`, [
      session,
    ])
    if (found?.ok !== true || found.events !== MILLION)
      throw new Error('audit.verify did not find the session in order')
    rounds.push(MILLION / ((performance.now() - started) / 1000))
  }
  return {
    ...VERIFY,
    unit: 'per second',
    value: median(rounds),
    note: 'one connection, one statement, no parallel workers',
  }
}
