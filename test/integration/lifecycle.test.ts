import { expect } from 'chai'
import type pg from 'pg'
import { FEED_BOUNDS } from '../../src/lifecycle/feed.ts'
import { appendEvents } from '../support/appendEvents.ts'
import { FeedReader, type LifecycleNode, startLifecycleNode } from '../support/lifecycleNode.ts'
import { freePort } from '../support/node.ts'
import { connect, migratedDatabase } from '../support/template.ts'
import { until } from '../support/until.ts'
import { useConnection, useDatabase } from '../support/useNode.ts'

const NEW = { title: null, metadata: '{}', creatorPrincipal: null }

describe('the lifecycle feed', () => {
  const database = useDatabase()
  const db = useConnection(database)
  let nodes: [LifecycleNode, LifecycleNode]
  const readers: FeedReader[] = []

  before(async () => {
    nodes = await Promise.all([startLifecycleNode(database), startLifecycleNode(database)])
  })
  afterEach(async () => {
    for (const reader of readers.splice(0)) await reader.cut()
  })
  after(async () => {
    for (const node of nodes) await node.stop()
  })

  function follow(reader: FeedReader, node: LifecycleNode): FeedReader {
    readers.push(reader)
    reader.follow(node).catch(() => {}) // its end is looked at where it is expected
    return reader
  }
  const seen = (reader: FeedReader, line: string) =>
    until(`${line}, there is ${reader.lines.slice(-5)}`, () => reader.lines.includes(line))

  it('has every change once, in one order, for readers who stay and who come and go, while eight write through two nodes', async () => {
    const tenants = ['north', 'south']
    const did = new Map<string, string[]>()
    const stay = tenants.flatMap((tenant) =>
      nodes.map((node) => ({ tenant, reader: follow(new FeedReader(tenant), node) })),
    )
    let isWriting = true
    const roam = tenants.map((tenant) => {
      const reader = new FeedReader(tenant)
      readers.push(reader)
      const roaming = (async () => {
        for (let i = 0; isWriting; i += 1) await reader.follow(nodes[i % 2]!, 1 + (i % 7))
      })()
      return { tenant, reader, roaming }
    })

    await Promise.all(Array.from({ length: 8 }, (_, n) => write(`w${n}`, tenants[n % 2]!, nodes[n >> 2]!)))
    isWriting = false
    for (const { reader, roaming } of roam) {
      await reader.cut()
      await roaming
      follow(reader, nodes[1])
    }

    const heads = await lastSeqs()
    for (const { tenant, reader } of [...stay, ...roam]) {
      const own = [...did].filter(([id]) => id.startsWith(tenant))
      await until('the reader knows of all', () =>
        own.every(([id]) => {
          const last = reader.seen.findLast(
            (change) => change.session_id === id && change.kind === 'session.appended',
          )
          return (last?.last_seq ?? 0) === heads.get(id) && reader.lines.includes(`created ${id}`)
        }),
      )
      expect(new Set(reader.seen.map((change) => change.tenant_id))).to.deep.equal(new Set([tenant]))
      const places = reader.cursors.map(({ place }) => place)
      expect(places, 'in order, none twice').to.deep.equal([...new Set(places)].sort((a, b) => a - b))
      for (const [id, expected] of own) {
        const ofSession = reader.seen.filter((change) => change.session_id === id)
        const changes = ofSession.filter(({ kind }) => kind !== 'session.appended')
        expect(changes.map(({ kind }) => kind.slice('session.'.length))).to.deep.equal(expected)
        expect(ofSession[0]?.kind).to.equal('session.activated')
        const lastSeqs = ofSession.flatMap(({ last_seq }) => last_seq ?? [])
        expect(lastSeqs).to.deep.equal([...new Set(lastSeqs)].sort((a, b) => a - b))
      }
    }
    const [first, ...others] = stay.filter(({ tenant }) => tenant === 'north').map(({ reader }) => reader)
    const changesOf = (reader?: FeedReader) => reader?.lines.filter((line) => !line.startsWith('appended'))
    for (const other of others) expect(changesOf(other), 'one order').to.deep.equal(changesOf(first))

    /** Half of what it does is done in transactions that commit in another order than they began, or not at all. */
    async function write(name: string, tenantId: string, { sessions }: LifecycleNode): Promise<void> {
      const [early, late] = [await connect(database), await connect(database)]
      for (let i = 0; i < 8; i += 1) {
        const ids = ['early', 'late', 'undone', 'plain'].map((kind) => `${tenantId} ${name} ${i} ${kind}`)
        const [earlyId, lateId, undoneId, id] = ids as [string, string, string, string]
        const create = (client: pg.Client, of: string) =>
          client.query('select starcite.create_session($1, $2)', [tenantId, of])
        await early.query('begin')
        await create(early, earlyId)
        await late.query('begin')
        await create(late, lateId)
        await appendEvents(late, [{ tenant: tenantId, session: lateId }])
        await sessions.create({ ...NEW, tenantId, id })
        await late.query('commit')
        await appendEvents(early, [{ tenant: tenantId, session: earlyId }])
        await early.query(i % 2 === 0 ? 'commit' : 'rollback')
        if (i % 2 === 0) did.set(earlyId, ['activated', 'created'])
        did.set(lateId, ['activated', 'created'])

        await late.query('begin')
        await create(late, undoneId)
        await sessions.patch(tenantId, id, { title: `new ${i}` })
        await sessions.setArchived(tenantId, id, true)
        await appendEvents(early, [
          { tenant: tenantId, session: id },
          { tenant: tenantId, session: lateId },
        ])
        await late.query('rollback')
        await sessions.patch(tenantId, id, { metadata: `{"n":${i}}` })
        await sessions.setArchived(tenantId, id, false)
        did.set(id, ['activated', 'created', 'updated', 'archived', 'updated', 'unarchived'])
      }
      await Promise.all([early.end(), late.end()])
    }

    async function lastSeqs(): Promise<Map<string, number>> {
      const { rows } = await db.query<{ id: string; last_seq: number }>(
        'select s.id, h.last_seq::int from starcite.sessions s join starcite.session_heads h on h.sid = s.sid',
      )
      return new Map(rows.map((row) => [row.id, row.last_seq]))
    }
  })

  it('delivers every change to a reader that was away, although no node ran while it happened', async () => {
    const other = await migratedDatabase()
    const client = await connect(other)
    const start = () => startLifecycleNode(other)
    const before = await start()
    await before.sessions.create({ ...NEW, tenantId: 'acme', id: 'a' })
    await appendEvents(client, [{ tenant: 'acme', session: 'a' }])
    const reader = new FeedReader('acme')
    follow(reader, before)
    await seen(reader, 'appended a 1')
    await reader.cut()
    await before.stop()

    await client.query(`select starcite.create_session('acme', 'b')`)
    await appendEvents(client, [
      { tenant: 'acme', session: 'a' },
      { tenant: 'acme', session: 'a' },
      { tenant: 'acme', session: 'b' },
    ])
    const after = await start()
    follow(reader, after)
    await seen(reader, 'appended a 3')
    await seen(reader, 'appended b 1')

    expect(reader.lines.slice(0, 5)).to.deep.equal([
      'activated a',
      'created a',
      'appended a 1',
      'activated b',
      'created b',
    ])
    expect(reader.lines.slice(5)).to.have.members(['appended a 3', 'appended b 1'])
    await reader.cut()
    await after.stop()
    await client.end()
    await other.drop()
  })

  it('does not end a reader with history_changed, at any cursor and after any clock change, unless the feed went back', async () => {
    const [{ feed, sessions }] = nodes
    const ids = ['a', 'b', 'c', 'd']
    const cursors = [await feed.startAt('doubted', undefined)]
    const append = (lastSeq: number) =>
      Promise.all([
        appendEvents(
          db,
          ids.map((session) => ({ tenant: 'doubted', session })),
        ),
        ...ids.map((id) => seen(reader, `appended ${id} ${lastSeq}`)),
      ])
    const reader = follow(new FeedReader('doubted', cursors[0]), nodes[0])
    for (const id of ids) {
      await sessions.create({ ...NEW, tenantId: 'doubted', id })
      await seen(reader, `created ${id}`)
      cursors.push(await feed.startAt('doubted', undefined))
    }
    await append(1)
    const { rows } = await db.query(
      `update starcite.session_progress set placed_at = placed_at + interval '1 day'
        where tenant_id = 'doubted' and place = (select max(place) from starcite.session_progress where tenant_id = 'doubted')
       returning place::int`,
    ) // as a clock leaves it that went ahead, and back
    const late = follow(new FeedReader('doubted'), nodes[1])
    await seen(late, `created d`)
    await append(2)
    await sessions.patch('doubted', 'a', { title: 'new' })
    await seen(reader, 'updated a')
    cursors.push(await feed.startAt('doubted', undefined))
    await append(3)
    await append(4) // nothing is where it was placed first
    await seen(late, 'appended d 4')

    const early = reader.cursors.filter(({ place }) => place !== rows[0]?.place)
    for (const cursor of [...cursors, ...early, ...late.cursors]) {
      expect(await feed.startAt('doubted', cursor)).to.deep.equal(cursor)
      expect((await feed.startAt('doubted', { ...cursor, at: undefined })).place).to.equal(cursor.place)
    }
  })

  it('goes on after a doubt for a reader from now that has seen nothing yet', async () => {
    const [{ feed, sessions }] = nodes
    await sessions.create({ ...NEW, tenantId: 'now', id: 'before' })
    await seen(follow(new FeedReader('now'), nodes[0]), 'created before')
    const reader = follow(new FeedReader('now', await feed.startAt('now', undefined)), nodes[0])
    feed.verifyAll()
    await sessions.create({ ...NEW, tenantId: 'now', id: 'after' })
    await seen(reader, 'created after')

    expect(reader.lines).to.deep.equal(['activated after', 'created after'])
  })

  it('goes on while notifications cannot be had', async () => {
    const listenUrl = `postgres://127.0.0.1:${await freePort()}/nowhere`
    const deaf = await startLifecycleNode(database, { listenUrl, pollIntervalMs: 100 })
    const reader = follow(new FeedReader('deaf'), deaf)
    await deaf.sessions.create({ ...NEW, tenantId: 'deaf', id: 'deaf 1' })
    await db.query(`select starcite.create_session('deaf', 'deaf 2')`)
    await appendEvents(db, [{ tenant: 'deaf', session: 'deaf 2' }])
    await seen(reader, 'created deaf 1')
    await seen(reader, 'appended deaf 2 1')

    await deaf.stop()
  })

  it('is read in pages of bounded size', async () => {
    const metadata = JSON.stringify({ text: 'é'.repeat(50_000) })
    const create = (i: number) =>
      nodes[0].sessions.create({ ...NEW, metadata, tenantId: 'large', id: `large ${i}` })
    for (let i = 0; i < 8; i += 1) await create(i)
    await until('all are placed', async () => (await nodes[0].feed.startAt('large', undefined)).number === 8)

    let cursor = { place: 0, number: 0 }
    const sizes: number[] = []
    for (let isMore = true; isMore; ) {
      const page = await nodes[0].feed.after('large', cursor)
      isMore = page.isMore
      sizes.push(page.events.length)
      cursor = page.events.at(-1)?.cursor ?? cursor
      expect(page.events.reduce((sum, event) => sum + event.text.length, 0)).to.be.below(FEED_BOUNDS.bytes)
    }
    expect(sizes).to.deep.equal([6, 6, 4])
  })

  it('can be resumed after every single event, and gives the same again', async () => {
    for (const id of ['each 1', 'each 2']) {
      await nodes[0].sessions.create({ ...NEW, tenantId: 'each', id })
      await nodes[0].sessions.setArchived('each', id, true)
    }
    const whole = follow(new FeedReader('each'), nodes[0])
    await until('all', () => whole.seen.length === 6)

    for (let i = 0; i < 6; i += 1) {
      const rest = await nodes[1].feed.after('each', whole.cursors[i]!)
      expect(rest.events.map((event) => JSON.parse(event.text).event)).to.deep.equal(whole.seen.slice(i + 1))
      expect(rest.events.map((event) => event.cursor)).to.deep.equal(whole.cursors.slice(i + 1))
    }
  })

  it('ends in a fault where a change is missing, and never skips it', async () => {
    for (const id of ['gap 1', 'gap 2', 'gap 3'])
      await nodes[0].sessions.create({ ...NEW, tenantId: 'gap', id })
    await until('all are placed', async () => (await nodes[0].feed.startAt('gap', undefined)).number === 3)
    await db.query(`delete from starcite.session_changes c where c.tenant_id = 'gap' and c.number = 2`)

    const reader = new FeedReader('gap')
    const error = await reader.follow(nodes[0]).catch((error) => error)

    expect(error).to.include({ code: 'history_damaged' })
    expect(reader.seen).to.deep.equal([])
  })

  it('waits for a Postgres that ends its connections, and goes on without a repeat', async () => {
    const reader = follow(new FeedReader('cut'), nodes[0])
    for (let i = 1; i <= 3; i += 1) {
      await db.query(
        `select pg_terminate_backend(a.pid) from pg_catalog.pg_stat_activity a
          where a.datname = current_database() and a.application_name in ('lifecycle node', 'starcite listener')`,
      )
      await db.query(`select starcite.create_session('cut', $1)`, [`cut ${i}`])
      await seen(reader, `created cut ${i}`)
    }

    expect(reader.lines).to.deep.equal([1, 2, 3].flatMap((i) => [`activated cut ${i}`, `created cut ${i}`]))
  })
})
