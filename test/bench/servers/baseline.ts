import Router from '@koa/router'
import pg from 'pg'
import { answerCalls } from '../calls.ts'
import type { AgentEvent } from '../payloads.ts'
import { listen, readJson } from './listen.ts'

// What one would write by hand: an append is a transaction that moves the session's counter, inserts the event and
// notifies. Two forms of it: statement by statement, and folded into one statement that commits by itself.

const SCHEMA = `
  create table sessions (id text primary key, last_seq bigint not null default 0) with (fillfactor = 50);
  create table events (
    session_id text not null, seq bigint not null, type text not null, actor text not null, payload jsonb not null,
    inserted_at timestamptz not null default clock_timestamp(), primary key (session_id, seq));
  create table bare_commits (payload json not null);`

const NEXT_SEQ = {
  name: 'next_seq',
  text: 'update sessions set last_seq = last_seq + 1 where id = $1 returning last_seq',
}
const INSERT = {
  name: 'insert_event',
  text: 'insert into events (session_id, seq, type, actor, payload) values ($1, $2, $3, $4, $5)',
}
const NOTIFY = { name: 'notify', text: `select pg_notify('events', $1)` }
const ALL_IN_ONE = {
  name: 'append',
  text: `with head as (update sessions set last_seq = last_seq + 1 where id = $1 returning last_seq),
              event as (insert into events (session_id, seq, type, actor, payload)
                        select $1, last_seq, $2, $3, $4 from head)
         select last_seq, pg_notify('events', $1 || ':' || last_seq) from head`,
}

type Append = (session: string, event: AgentEvent) => Promise<number | undefined>

function byStatements(pool: pg.Pool): Append {
  return async (session, { type, actor, payload }) => {
    const client = await pool.connect()
    try {
      await client.query('begin')
      const head = await client.query({ ...NEXT_SEQ, values: [session] })
      if (head.rows.length === 0) {
        await client.query('rollback')
        return undefined
      }
      const seq = Number(head.rows[0].last_seq)
      await client.query({ ...INSERT, values: [session, seq, type, actor, payload] })
      await client.query({ ...NOTIFY, values: [`${session}:${seq}`] })
      await client.query('commit')
      return seq
    } catch (error) {
      await client.query('rollback')
      throw error
    } finally {
      client.release()
    }
  }
}

function inOneStatement(pool: pg.Pool): Append {
  return async (session, { type, actor, payload }) => {
    const { rows } = await pool.query({ ...ALL_IN_ONE, values: [session, type, actor, payload] })
    return rows.length === 0 ? undefined : Number(rows[0].last_seq)
  }
}

/** The other end of the notifications, as live tails need it: a NOTIFY without listeners costs next to nothing. */
async function followHeads(url: string): Promise<void> {
  const heads = new Map<string, number>()
  const client = new pg.Client({ connectionString: url })
  client.on('notification', ({ payload = '' }) => {
    const colon = payload.lastIndexOf(':')
    heads.set(payload.slice(0, colon), Number(payload.slice(colon + 1)))
  })
  await client.connect()
  await client.query('listen events')
}

function serve(append: Append): Promise<number> {
  const router = new Router()
  router.post('/v1/sessions/:id/append', async (ctx) => {
    const event = (await readJson(ctx.req)) as AgentEvent
    const seq = await append(ctx.params.id!, event)
    ctx.status = seq === undefined ? 404 : 201
    ctx.body = seq === undefined ? { error: 'session_not_found' } : { seq, last_seq: seq, deduped: false }
  })
  return listen(router)
}

const handlers = {
  /** On an empty database. */
  listen: async ({ url, sessions }: { url: string; sessions: readonly string[] }) => {
    const pool = new pg.Pool({ connectionString: url, max: 32 })
    await pool.query(SCHEMA)
    await pool.query('insert into sessions (id) select unnest($1::text[])', [sessions])
    await followHeads(url)
    return {
      byStatements: await serve(byStatements(pool)),
      inOneStatement: await serve(inOneStatement(pool)),
    }
  },
}
export type BaselineHandlers = typeof handlers

answerCalls(handlers)
