import { expect } from 'chai'
import type pg from 'pg'
import { readInstallation } from '../../src/db/installation.ts'
import { BuildVariant } from '../support/buildVariant.ts'
import { call } from '../support/client.ts'
import { type NodeProcess, spawnNode } from '../support/node.ts'
import { type FreshDatabase, freshDatabase } from '../support/postgres.ts'
import { connect } from '../support/template.ts'
import { until } from '../support/until.ts'

/** Two builds of one release: the older one's procedure does not know that null metadata mean `{}`. */
describe('two builds of one release number', () => {
  let database: FreshDatabase
  let db: pg.Client
  let older: BuildVariant
  const nodes: NodeProcess[] = []

  before(async () => {
    const { number } = await readInstallation()
    database = await freshDatabase()
    db = await connect(database)
    older = await BuildVariant.make(number - 1, 'append_events.sql', (text) =>
      text.replaceAll(/coalesce\((p_metadata\[\w+\]), '\{\}'\)/g, '$1'),
    )
  })
  after(async () => {
    for (const node of nodes) await node.kill('SIGKILL')
    await db.end()
    await database.drop()
    await older.remove()
  })

  async function start(program?: readonly string[]): Promise<NodeProcess> {
    const node = await spawnNode(database, { DB_POOL_SIZE: '4' }, program && { program })
    nodes.push(node)
    return node
  }

  it('side by side under load, restarting in turns: the newer procedures stay, and no append is stored with null metadata', async () => {
    let old = await start(older.program)
    expect((await call('POST', `${old.url}/v1/sessions`, { id: 's' })).status).to.equal(201)
    let current = await start()
    // From here on the procedures are the newer ones. Writers go on while either node is away.
    let stopping = false
    const append = (url: string) =>
      call('POST', `${url}/v1/sessions/s/append`, { type: 't', payload: {} }).then(
        ({ status }) => status === 201,
        () => false, // the node is being restarted
      )
    const stored = { old: 0, current: 0 }
    const writers = (['old', 'current'] as const).map(async (which) => {
      while (!stopping) if (await append((which === 'old' ? old : current).url)) stored[which] += 1
    })

    for (const round of [1, 2]) {
      await old.kill(round === 1 ? 'SIGTERM' : 'SIGKILL')
      old = await start(older.program)
      const before = stored.old
      await until('the restarted older build serves', () => stored.old > before + 5)
      await current.kill(round === 1 ? 'SIGKILL' : 'SIGTERM')
      current = await start()
      const since = stored.current
      await until('the restarted newer build serves', () => stored.current > since + 5)
    }
    stopping = true
    await Promise.all(writers)

    const { number, objects } = await readInstallation()
    const { rows } = await db.query(
      `select count(*)::int as events, count(*) filter (where e.metadata is null)::int as without
         from starcite.events e`,
    )
    expect(rows[0].without).to.equal(0)
    expect(rows[0].events).to.be.at.least(stored.old + stored.current)
    const { rows: installed } = await db.query(
      `select o.number::int, o.hash, p.prosrc from starcite.installed_objects o
         join lateral (select p.prosrc from pg_catalog.pg_proc p
                        where p.pronamespace = 'starcite'::regnamespace and p.proname = 'append_events'
                        order by p.pronargs desc limit 1) p on true where o.name = 'append_events'`,
    )
    const ours = objects.find(({ name }) => name === 'append_events')
    expect(installed).to.have.lengthOf(1)
    expect(installed[0]).to.include({ number, hash: ours?.hash })
    expect(ours?.text).to.include(installed[0].prosrc)
  })

  it('the older one says that a newer one installed the procedures, and serves', async () => {
    const { number } = await readInstallation()
    const old = await spawnNode(
      database,
      { STARCITE_LOG_LEVEL: 'info', DB_POOL_SIZE: '4' },
      { program: older.program },
    )
    nodes.push(old)

    expect(old.output()).to.include(`"installed":${number},"ours":${number - 1}`)
  })
})
