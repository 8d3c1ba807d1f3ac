import { createSessions, type Lab, query } from '../lab.ts'
import { median } from '../stats.ts'
import type { Case, Row } from './case.ts'

const SESSIONS = 1_000_000
const MOVED = 100_000
const APPENDED_TO = 200
const TIMES = 3

export const CHECKPOINT = {
  id: 'checkpoint',
  group: 'checkpoints',
  name: 'a checkpoint of 100,000 moved sessions of 1,000,000',
} as const

/** A million sessions that a first checkpoint has covered, and a node. Each has its last event, for a checkpoint looks at it. */
async function million(lab: Lab): Promise<string> {
  return lab.once('a million sessions', async () => {
    await lab.nodeOn('checkpoints', 'checkpoints') // which migrates
    const url = await lab.database('checkpoints')
    // Without the record of changes, which a million at once would make a million of.
    await query(
      url,
      `set session_replication_role = replica;
       insert into starcite.sessions (tenant_id, id)
       select 'tenant-' || n % 50, 'ses_' || md5(n::text) from generate_series(1, ${SESSIONS}) n;
       insert into starcite.session_heads (sid, last_seq, chain_hash)
       select s.sid, 1, sha256(s.id::bytea) from starcite.sessions s where s.tenant_id like 'tenant-%'`,
    )
    await query(url, 'select starcite.ensure_segment(clock_timestamp())')
    await query(url, lastEvents('starcite.session_heads'))
    await (await lab.checkpoints()).call('take', url)
    for (const table of ['sessions', 'session_heads', 'checkpoint_heads', 'events'])
      await query(url, `vacuum analyze starcite.${table}`)
    return url
  })
}

/** The last events of heads, as far as checkpoints look at them. */
const lastEvents = (heads: string) => `
  insert into starcite.events (sid, seq, inserted_at, type, actor, content_digest, hash, chain_version)
  select h.sid, h.last_seq, clock_timestamp(), 'content', 'agent:a', h.chain_hash, h.chain_hash, 2 from ${heads} h`

/** Every tenth of them, each time others. */
async function move(url: string, round: number): Promise<void> {
  await query(
    url,
    `with moved as (
       update starcite.session_heads h set last_seq = h.last_seq + 1
         from starcite.sessions s where s.sid = h.sid and s.tenant_id like 'tenant-%' and h.sid % ${SESSIONS / MOVED} = $1
       returning h.sid, h.last_seq, h.chain_hash
     ) ${lastEvents('moved')}`,
    [round % (SESSIONS / MOVED)],
  )
}

/** Behind which a round begins, in turns: heads are gathered, hashed, noted. */
const STEPS = [undefined, 'gathered', 'leaves'] as const

/** Nothing else goes on. */
export async function checkpointRow(lab: Lab): Promise<Row> {
  const url = await million(lab)
  await (await lab.checkpoints()).call('take', url) // what other rows have left
  const times: number[] = []
  for (let n = 0; n < TIMES; n += 1) {
    await move(url, n)
    const { leaves, ms } = await (await lab.checkpoints()).call('take', url)
    if (leaves < MOVED) throw new Error(`of ${MOVED} heads that have moved ${leaves} were signed`)
    times.push(ms)
  }
  const note = `to a table of the same Postgres; the slowest of ${TIMES} took ${(Math.max(...times) / 1000).toFixed(1)} s`
  return { ...CHECKPOINT, unit: 'ms', value: median(times), note }
}

/** The same appends, to the same node, without checkpoints and while one is taken. */
export function checkpointCases(lab: Lab): Case[] {
  const sessions = () =>
    lab.once('sessions beside a million', async () =>
      createSessions(await million(lab), 'signing', APPENDED_TO),
    )
  const prepare = async () => {
    await sessions()
    return {
      server: (await lab.nodeOn('checkpoints', 'checkpoints')).pid,
      postgres: (await lab.postgres()).pid,
      load: (await lab.load()).pid,
      job: (await lab.checkpoints()).pid,
    }
  }
  const append = async (seconds: number) => {
    const { port } = await lab.nodeOn('checkpoints', 'checkpoints')
    return (await lab.load()).call('http', { port, sessions: await sessions(), connections: 64, seconds })
  }
  let [round, turn] = [0, 0]
  return [
    {
      id: 'unsigned-64',
      group: 'checkpoints',
      name: 'append beside 1,000,000 sessions, 64 connections',
      note: 'in either row, a tenth of the million has moved just before, which Postgres then vacuums',
      prepare,
      run: async (seconds) => {
        await move(await million(lab), round++)
        return append(seconds)
      },
    },
    {
      id: 'signing-64',
      group: 'checkpoints',
      name: 'the same while a checkpoint of 100,000 is taken',
      note: 'in turns while its heads are gathered, hashed, and noted',
      prepare,
      run: async (seconds) => {
        const [job, url] = [await lab.checkpoints(), await million(lab)]
        await move(url, round++)
        const step = STEPS[turn++ % STEPS.length]
        await job.call('start', { url, step })
        try {
          const sample = await append(seconds)
          if (!(await job.call('running', undefined as never)))
            throw new Error('the checkpoint was taken before the appends ended')
          return sample
        } finally {
          await job.call('cut', undefined as never)
        }
      },
    },
  ]
}
