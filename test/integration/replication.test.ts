import { readFile } from 'node:fs/promises'
import { expect } from 'chai'
import type pg from 'pg'
import { migrate } from '../../src/db/migrate.ts'
import { createLog } from '../../src/ops/log.ts'
import { connect } from '../support/template.ts'
import { throwAwayPostgres } from '../support/throwAwayPostgres.ts'
import { someEvents, TieringLab } from '../support/tiering.ts'
import { until } from '../support/until.ts'
import { use } from '../support/use.ts'

const example = (name: string) =>
  readFile(new URL(`../../docs/examples/replication/${name}.sql`, import.meta.url), 'utf8')

/** The databases are on one server, which needs settings of its own. */
describe('a subscriber by logical replication', function () {
  this.timeout(120_000)
  const postgres = use(() => throwAwayPostgres({ wal_level: 'logical' }))
  let url: string
  let lab: TieringLab
  let mirror: pg.Client
  const clients: pg.Client[] = []

  const database = async (name: string) => {
    const admin = await connect({ url })
    await admin.query(`create database ${name} template template0`)
    await admin.end()
    return {
      name,
      url: Object.assign(new URL(url), { pathname: `/${name}` }).href,
      drop: async () => {},
    }
  }

  before(async () => {
    url = postgres.server.url
    const source = await database('app')
    await migrate(source.url, '0.0.0-test', createLog('silent'))
    lab = await TieringLab.open(undefined, source)
    mirror = await connect(await database('mirror'))
    clients.push(mirror)
  })
  after(async () => {
    for (const client of clients) await client.end()
    await lab?.close()
  })

  /** Events as both sides show them. */
  const EVENTS = `select e.sid, e.seq, e.inserted_at, e.producer_seq, e.type, e.actor, e.source, e.producer_id, e.idempotency_key,
                         e.payload, e.metadata, e.refs, e.salt, e.content_digest, e.hash, e.subject, e.chain_version
                    from starcite.events e order by e.sid, e.seq`
  const mirrored = async (sql = EVENTS) => (await mirror.query(sql)).rows
  const stored = async (sql = EVENTS) => (await lab.db.query(sql)).rows
  const arrived = (what: string, events: number) =>
    until(what, async () => (await mirrored('select from starcite.events')).length === events)

  it('is sent what there is, every append, erasures, and never that segments have moved away', async () => {
    await lab.session('s', 'acme')
    await lab.session('gone', 'acme')
    const some = (count: number) =>
      someEvents([{ session: 's', tenant: 'acme' }], count).map(({ producer: _, ...event }) => event)
    await lab.append(some(20))
    await lab.append([{ session: 'gone', tenant: 'acme', payload: '{"text":"secret"}' }])

    await lab.db.query(await example('publisher'))
    // A subscription to a database of the same server would wait for itself to make its slot.
    await lab.db.query(`select pg_create_logical_replication_slot('starcite_mirror', 'pgoutput')`)
    const { hostname, port } = new URL(url)
    const [tables, subscription, rest] = (await example('subscriber')).split(
      /^(create subscription .*?;)$/ms,
    ) as [string, string, string]
    await mirror.query(tables)
    await mirror.query(rest)
    await mirror.query(
      subscription
        .replace(/'host=.*'/, `'host=${hostname} port=${port} dbname=app user=starcite_mirror_reader'`)
        .replace(/;$/, ' with (create_slot = false)'),
    )
    await arrived('what there was', 21)
    expect(await mirrored()).to.deep.equal(await stored())

    await lab.append(some(15)) // of the same partition
    await arrived('appends', 36)
    await lab.db.query(`select starcite.redact_event('acme', 's', 3)`)
    await lab.db.query(`select starcite.erase_session('acme', 'gone')`)
    const before = await stored()
    await lab.move()
    await lab.append(some(5)) // of a partition that was made since
    await arrived('appends after a move', 41)
    await until('the erasures', async () => {
      const rows = await mirrored('select from starcite.events e where e.salt is null and e.payload is null')
      return rows.length === 2
    })

    expect(await lab.count('events'), 'of 41, the others are cold').to.equal(5)
    const withoutContent = (row: Record<string, unknown>) =>
      row.payload === '{"text":"secret"}'
        ? { ...row, payload: null, metadata: null, refs: null, salt: null }
        : row
    expect(await mirrored()).to.deep.equal(
      [...before.map(withoutContent), ...(await stored())].sort((a, b) => a.sid - b.sid || a.seq - b.seq),
    )
    const sessions =
      'select s.id, s.title, s.metadata, s.version, s.erased_at from starcite.sessions s order by s.sid'
    expect(await mirrored(sessions)).to.deep.equal(await stored(sessions))
    const changes =
      'select c.change_id, c.kind, c.actor, c.at from starcite.session_changes c order by c.change_id'
    expect(await mirrored(changes)).to.deep.equal(await stored(changes))
    const counted =
      'select d.sid, d.type, sum(d.events)::int as n from public.events_per_day d group by 1, 2 order by 1, 2'
    const there =
      'select e.sid, e.type, count(*)::int as n from starcite.events e group by 1, 2 order by 1, 2'
    expect(await mirrored(counted)).to.deep.equal(await mirrored(there))
  })
})
