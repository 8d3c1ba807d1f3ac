import { expect } from 'chai'
import type pg from 'pg'
import type { EmbeddedPostgres } from '../../src/db/embedded/server.ts'
import type { Service } from '../../src/service.ts'
import { faultsOfLog } from '../support/chain.ts'
import { type Answer, call } from '../support/client.ts'
import { EmbeddedPostgresLab } from '../support/embeddedPostgres.ts'
import { startNode } from '../support/node.ts'
import { ResumingTail } from '../support/resumingTail.ts'
import { bound, SLACK_MS } from '../support/slack.ts'
import { connect, migratedDatabase } from '../support/template.ts'
import { timed, until } from '../support/until.ts'
import { use } from '../support/use.ts'

const event = (type = 't') => ({ type, payload: {} })

const append = (node: Service, id: string, body: object = event()): Promise<Answer> =>
  call('POST', `${node.url}/v1/sessions/${id}/append`, body)

async function newSession(node: Service): Promise<string> {
  return (await call('POST', `${node.url}/v1/sessions`, {})).json.id
}

describe('appends, while a long transaction of another client holds a session', () => {
  it('go on in other sessions; in that one they are answered with a retry time, and then work', async () => {
    const database = await migratedDatabase()
    const db = await connect(database)
    const node = await startNode(database, { STARCITE_APPEND_CONNECTIONS: '1' })
    const held = await newSession(node)
    const others = await Promise.all(Array.from({ length: 20 }, () => newSession(node)))
    await db.query('begin')
    await db.query('select starcite.append($1, $2, $3)', [held, 'sql', '{}'])

    // One connection, so that all of them are neighbours of the one that has to wait.
    const locked = timed(append(node, held))
    const neighbours = await Promise.all(others.map((id) => timed(append(node, id))))
    const refusal = await locked
    const after = await Promise.all(others.map((id) => timed(append(node, id))))
    await db.query('commit')
    const again = await append(node, held)

    expect(neighbours.map(({ value }) => value.status)).to.deep.equal(others.map(() => 201))
    expect(Math.max(...neighbours.map(({ ms }) => ms))).to.be.below(bound(4000))
    expect(refusal.value.status).to.equal(503)
    expect(refusal.value.json.error).to.equal('storage_unavailable')
    expect(refusal.value.headers.get('retry-after')).to.equal('1')
    expect(refusal.ms).to.be.below(bound(4000))
    expect(Math.max(...after.map(({ ms }) => ms))).to.be.below(bound(1000))
    expect(again.json).to.include({ seq: 2 })
    expect(await faultsOfLog(db, held)).to.deep.equal([])
    await node.stop()
    await db.end()
    await database.drop()
  })

  it('hardly wait in other sessions when they come after it, on a node with its usual connections', async () => {
    const database = await migratedDatabase()
    const db = await connect(database)
    const watcher = await connect(database) // what a transaction sees of others' activity stands still
    const node = await startNode(database)
    const held = await newSession(node)
    const others = await Promise.all(Array.from({ length: 20 }, () => newSession(node)))
    await db.query('begin')
    await db.query('select starcite.append($1, $2, $3)', [held, 'sql', '{}'])

    const locked = append(node, held)
    await until('it waits for the lock', async () => {
      const { rowCount } = await watcher.query(
        `select from pg_catalog.pg_stat_activity a
          where a.datname = current_database() and a.application_name = 'starcite append' and a.wait_event_type = 'Lock'`,
      )
      return (rowCount ?? 0) > 0
    })
    const later = await Promise.all(others.map((id) => timed(append(node, id))))
    const refusal = await locked
    await db.query('commit')

    if (process.env.STARCITE_TEST_FIGURES)
      console.log('waits behind a stuck batch, ms:', Math.round(Math.max(...later.map(({ ms }) => ms))))
    expect(later.map(({ value }) => value.status)).to.deep.equal(others.map(() => 201))
    // Less than the lock is waited for: they left beside it.
    expect(Math.max(...later.map(({ ms }) => ms))).to.be.below(bound(1500))
    expect(refusal.status).to.equal(503)
    await node.stop()
    await watcher.end()
    await db.end()
    await database.drop()
  })

  it('go on in other sessions while clients keep trying that one', async () => {
    const database = await migratedDatabase()
    const db = await connect(database)
    const node = await startNode(database, { STARCITE_APPEND_CONNECTIONS: '1' })
    const held = await newSession(node)
    const other = await newSession(node)
    await db.query('begin')
    await db.query('select starcite.append($1, $2, $3)', [held, 'sql', '{}'])
    let trying = true
    const stubborn = Array.from({ length: 4 }, async () => {
      while (trying) await append(node, held)
    })

    const waits: number[] = []
    for (let i = 0; i < 4; i += 1) {
      const { value, ms } = await timed(append(node, other))
      expect(value.status).to.equal(201)
      waits.push(ms)
    }
    trying = false
    await db.query('commit')
    await Promise.all(stubborn)

    if (process.env.STARCITE_TEST_FIGURES)
      console.log('waits beside a held session, ms:', waits.map(Math.round))
    expect(waits[0]).to.be.below(bound(3500))
    expect(Math.max(...waits.slice(1))).to.be.below(bound(1000))
    await node.stop()
    await db.end()
    await database.drop()
  })
})

describe('an append that Postgres refuses', () => {
  it('gets its error, and its neighbours their seq', async () => {
    const database = await migratedDatabase()
    const db = await connect(database)
    await db.query(`
      create function public.refuse() returns trigger language plpgsql as
        $$ begin raise exception 'poison' using errcode = new.payload ->> 'code'; end $$;
      create trigger refuse before insert on starcite.events
        for each row when (new.type = 'poison') execute function public.refuse();`)
    const node = await startNode(database, { STARCITE_APPEND_CONNECTIONS: '1' })
    const ids = await Promise.all(Array.from({ length: 40 }, () => newSession(node)))
    const poison = { type: 'poison', payload: { code: 'P0001' } }

    const answers = await Promise.all(
      ids.map((id, i) =>
        i % 13 === 5
          ? append(node, id, poison)
          : i % 13 === 7
            ? call('POST', `${node.url}/v1/sessions/${id}/events`, { events: [event(), poison, event()] })
            : append(node, id),
      ),
    )

    answers.forEach((answer, i) => {
      if (i % 13 === 5 || i % 13 === 7) {
        expect(answer.status).to.equal(500)
        expect(answer.json.error).to.equal('internal_error')
        expect(answer.json.request_id).to.equal(answer.headers.get('x-request-id'))
        expect(answer.text).not.to.include('poison')
      } else expect(answer.json).to.include({ seq: 1 })
    })
    const { rows } = await db.query('select count(*)::int as n from starcite.events')
    expect(rows[0].n).to.equal(answers.filter(({ status }) => status === 201).length)
    expect((await append(node, ids[5] as string)).json).to.include({ seq: 1 })
    await node.stop()
    await db.end()
    await database.drop()
  })
})

describe('a node, when Postgres', function () {
  this.timeout(120_000)
  const TIMEOUT_MS = 1000
  const lab = use(() => EmbeddedPostgresLab.open())
  let server: EmbeddedPostgres
  let node: Service
  let id: string

  before(async () => {
    server = await lab.start({ settings: { max_connections: '20' } })
    node = await startNode(server, {
      STARCITE_STORAGE_TIMEOUT: `${TIMEOUT_MS}ms`,
      STARCITE_POLL_INTERVAL: '200ms',
    })
    id = await newSession(node)
  })
  after(async () => {
    await node.stop()
  })

  /** Every process of the server: what stops it and starts it again, as a machine that hangs would. */
  async function signalServer(signal: NodeJS.Signals): Promise<void> {
    const db = connectionPids
    for (const pid of [...db, server.pid]) {
      try {
        process.kill(pid, signal)
      } catch {
        // It has ended since.
      }
    }
  }
  let connectionPids: number[] = []
  async function learnPids(): Promise<void> {
    const db = await connect(server)
    const { rows } = await db.query<{ pid: number }>(
      `select a.pid from pg_catalog.pg_stat_activity a where a.pid <> pg_backend_pid()`,
    )
    connectionPids = rows.map(({ pid }) => pid)
    await db.end()
  }

  it('hangs, tells every caller 503 within the bound, and serves again when it goes on', async () => {
    const tail = new ResumingTail(() => node.url, id)
    await append(node, id)
    await until('the tail is live', () => tail.cursor === 1)
    await learnPids()
    await signalServer('SIGSTOP')

    // More than one batch, some of them queued behind the one that hangs; and reads beside them.
    const calls = [
      ...Array.from({ length: 20 }, (_, n) =>
        append(node, id, { ...event(), producer_id: `p${n}`, producer_seq: 1 }),
      ),
      ...Array.from({ length: 20 }, () => append(node, id)),
      call('GET', `${node.url}/v1/sessions/${id}`),
      call('GET', `${node.url}/v1/sessions/${id}/events`),
      call('GET', `${node.url}/health/ready`),
    ].map((request) => timed(request))
    await new Promise((resolve) => setTimeout(resolve, TIMEOUT_MS / 2)) // these arrive while a batch hangs
    calls.push(...Array.from({ length: 20 }, () => timed(append(node, id))))
    const answers = await Promise.all(calls)
    await signalServer('SIGCONT')

    if (process.env.STARCITE_TEST_FIGURES)
      console.log('slowest 503, ms:', Math.round(Math.max(...answers.map(({ ms }) => ms))))
    for (const { value, ms } of answers) {
      expect(value.status, value.text).to.equal(503)
      expect(ms).to.be.below(TIMEOUT_MS + SLACK_MS)
    }
    const before = (await until('it serves again', async () => {
      const answer = await append(node, id)
      return answer.status === 201 ? answer : undefined
    })) as Answer
    await until('the tail has it all', () => tail.cursor >= before.json.seq)
    const db = await connect(server)
    expect(await faultsOfLog(db, id)).to.deep.equal([])
    const { rows } = await db.query(
      `select e.producer_id from starcite.events e where e.producer_id is not null
        group by e.producer_id having count(*) > 1`,
    )
    expect(rows).to.deep.equal([])
    expect(tail.faults).to.deep.equal([])
    await db.end()
    tail.stop()
  })

  it('has no connection left for it, answers that within the bound, and serves again when it has', async () => {
    await until('it serves', async () => (await append(node, id)).status === 201)
    const hogs: pg.Client[] = []
    for (;;) {
      const hog = await connect(server).catch(() => undefined)
      if (hog === undefined) break
      hogs.push(hog)
      // The node's connections end, and another client takes them.
      await hog.query(
        `select pg_terminate_backend(a.pid) from pg_catalog.pg_stat_activity a
          where a.application_name like 'starcite%' and a.backend_type = 'client backend'`,
      )
    }

    const { value, ms } = await timed(append(node, id))
    const ready = await call('GET', `${node.url}/health/ready`)
    for (const hog of hogs) await hog.end()

    if (value.status !== 201) {
      expect(value.status).to.equal(503)
      expect(ms).to.be.below(TIMEOUT_MS + SLACK_MS)
      expect(value.headers.get('retry-after')).to.equal('1')
    }
    expect([200, 503]).to.include(ready.status)
    await until('it serves again', async () => (await append(node, id)).status === 201)
  })

  it('is restarted, takes nothing of what was acknowledged away, and the node goes on by itself (I2)', async () => {
    const acknowledged = new Set<number>()
    let running = true
    const load = Array.from({ length: 8 }, async () => {
      while (running) {
        const { status, json } = await append(node, id)
        expect([201, 503]).to.include(status)
        if (status === 201) acknowledged.add(json.seq)
      }
    })
    await until('there is load', () => acknowledged.size > 50)
    const { port } = server
    await server.stop()
    server = await lab.start({ port })
    const sizeBefore = acknowledged.size
    await until('the node goes on', () => acknowledged.size > sizeBefore + 20)
    running = false
    await Promise.all(load)

    const db = await connect(server)
    const { rows } = await db.query<{ seq: string }>(
      'select e.seq from starcite.events e join starcite.sessions s on s.sid = e.sid where s.id = $1',
      [id],
    )
    const stored = new Set(rows.map(({ seq }) => Number(seq)))
    expect([...acknowledged].filter((seq) => !stored.has(seq))).to.deep.equal([])
    expect(await faultsOfLog(db, id)).to.deep.equal([])
    await db.end()
  })
})
