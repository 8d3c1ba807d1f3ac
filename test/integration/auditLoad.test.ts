import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { loadEvents } from '../../src/audit/load/loadEvents.ts'
import { unload } from '../../src/audit/load/queries.ts'
import type { Selection } from '../../src/audit/read/selection.ts'
import { residueOf } from '../support/residue.ts'
import { connect } from '../support/template.ts'
import { someEvents, TieringLab } from '../support/tiering.ts'
import { until } from '../support/until.ts'
import { use } from '../support/use.ts'

const EACH = 40
const SECRET = `secret-${randomUUID()}`
const DAY_MS = 86_400_000

describe('audit load', function () {
  this.timeout(120_000)
  const lab = use(() => TieringLab.open())
  const sids = new Map<string, string>()

  before(async () => {
    const sessions = ['one', 'erased', 'redacted', 'late', 'aged'].map((session) => ({
      session,
      tenant: session === 'aged' ? 'aging' : 'default',
    }))
    for (const { session, tenant } of sessions) sids.set(session, await lab.session(session, tenant))
    await lab.append(someEvents(sessions, EACH - 1))
    await lab.append(
      sessions.map((session) => ({ ...session, payload: `{"text":"${SECRET}-${session.session}"}` })),
    )
    await lab.move()
    await lab.append(someEvents([{ session: 'one' }], 3).map(({ producer: _, ...event }) => event))
  })

  const load = (selection: Partial<Selection> = {}, keepMs = DAY_MS) =>
    loadEvents({
      ...{ db: lab.pool, ownerDb: lab.pool, store: lab.store, signal: new AbortController().signal, keepMs },
      selection: { tenant: 'default', types: new Set(), actors: new Set(), ...selection },
    })
  const shown = async (session: string) =>
    (
      await lab.db.query(
        `select e.seq::int, e.type, e.actor, e.payload::text, e.redacted, e.tier, e.payload_jsonb is null as is_no_jsonb
           from audit.events_loaded e where e.session = $1 order by e.seq`,
        [session],
      )
    ).rows
  const contentOf = async (session: string) =>
    (await shown(session)).filter((event) => event.payload !== null)

  it('shows cold events as they were appended, and no others', async () => {
    const { events } = await load({ session: 'one' })
    const rows = await shown('one')

    expect(events).to.equal(EACH)
    const frames = (await lab.read(sids.get('one') as string)).slice(0, EACH)
    for (const [i, row] of rows.entries()) {
      expect(frames[i]).to.include(
        `{"seq":${row.seq},"type":"${row.type}","payload":${row.payload},"actor":"${row.actor}"`,
      )
      expect(row).to.include({ redacted: false, tier: 'cold' })
      expect(row.is_no_jsonb, 'half a surrogate pair').to.equal(row.payload.includes('\\ud83d'))
    }
    expect(rows.length).to.equal(EACH)
  })

  it('keeps what is loaded once more, the longer of both times, and each once', async () => {
    const expiry = async () =>
      (
        await lab.db.query(`select min(e.expires_at) as at, max(e.expires_at) as last, count(*)::int as n
        from audit.events_loaded e where e.session = 'one'`)
      ).rows[0]
    const before = await expiry()
    await load({ session: 'one' }, DAY_MS / 2)
    const shorter = await expiry()
    await load({ session: 'one', types: new Set(['state']) }, 7 * DAY_MS)
    const longer = await expiry()

    expect(shorter).to.deep.equal(before)
    expect(longer.n).to.equal(EACH)
    expect(longer.at).to.deep.equal(before.at)
    expect(longer.last.getTime() - before.last.getTime()).to.be.greaterThan(5 * DAY_MS)
  })

  it('shows readers the tenants granted to them, and no reader the table', async () => {
    await load({ tenant: 'aging' })
    const name = `starcite_test_${randomUUID().replaceAll('-', '')}`
    await lab.db.query(`create role ${name} in role starcite_auditor`)
    const reader = await connect(lab.database)
    await reader.query(`set session authorization ${name}`)
    const tenants = async () =>
      (await reader.query('select distinct e.tenant from audit.events_loaded e order by 1')).rows.map(
        (row) => row.tenant,
      )
    try {
      expect(await tenants()).to.deep.equal([])
      await lab.db.query(`insert into starcite.tenant_grants values ($1::regrole, 'aging')`, [name])
      expect(await tenants()).to.deep.equal(['aging'])
      for (const sql of ['select from starcite.loaded_events', 'delete from starcite.loaded_events'])
        expect(await reader.query(sql).catch((error) => error.code)).to.equal('42501')
    } finally {
      await reader.end()
      await lab.db.query('delete from starcite.tenant_grants')
      await lab.db.query(`drop role ${name}`)
    }
  })

  it('loses content with the commit of its erasure, and is given none that is to be erased', async () => {
    await load({ session: 'erased' })
    await load({ session: 'redacted' })
    await lab.db.query(
      `select starcite.erase_session('default', 'erased'), starcite.redact_event('default', 'redacted', $1)`,
      [EACH],
    )

    expect(await contentOf('erased')).to.deep.equal([])
    expect((await contentOf('redacted')).map((event) => event.seq)).to.deep.equal(
      Array.from({ length: EACH - 1 }, (_, i) => i + 1),
    )
    await lab.db.query('delete from starcite.loaded_events')
    await load() // the objects still have it
    expect(await contentOf('erased')).to.deep.equal([])
    expect((await shown('erased')).length).to.equal(EACH)
    expect((await contentOf('redacted')).length).to.equal(EACH - 1)
    await lab.move()
    for (const session of ['erased', 'redacted'])
      expect(await residueOf(lab.db, lab.store, `${SECRET}-${session}`)).to.deep.equal([])
  })

  it('loses content that was being loaded while its erasure was asked for, before that is done', async () => {
    await unload(lab.pool, {})
    const loader = await connect(lab.database)
    await loader.query('begin')
    await loader.query(
      `insert into starcite.loaded_events (sid, seq, inserted_at, type, actor, payload, metadata, refs, salt, content_digest, hash, loaded_at, expires_at)
       values ($1, $2, now(), 'x', 'a', $3, '{}', '{}', '\\x00', '\\x00', '\\x00', now(), now() + interval '1 day')`,
      [sids.get('late'), EACH, `{"text":"${SECRET}-late"}`],
    )
    try {
      await lab.db.query(`select starcite.erase_session('default', 'late')`)
      const erasing = lab.move()
      await until('the job waits for the loader', async () => {
        const { rows } = await lab.db.query(
          `select from pg_locks l join pg_database d on d.oid = l.database and d.datname = current_database()
            where l.relation = 'starcite.loaded_events'::regclass and not l.granted`,
        )
        return rows.length > 0
      })
      await loader.query('commit')
      await erasing
    } finally {
      await loader.end()
    }

    expect((await shown('late')).map((event) => event.redacted)).to.deep.equal([true])
    expect(await residueOf(lab.db, lab.store, `${SECRET}-late`)).to.deep.equal([])
  })

  it('loses what retention erases', async () => {
    await load({ tenant: 'aging' })
    expect((await contentOf('aged')).length).to.equal(EACH)
    await lab.db.query(
      `insert into starcite.retention_rules (tenant_id, content_after) values ('aging', interval '-10 years')`,
    )
    await lab.move()
    await lab.db.query('delete from starcite.retention_rules')

    expect(await contentOf('aged')).to.deep.equal([])
    expect(await residueOf(lab.db, lab.store, `${SECRET}-aged`)).to.deep.equal([])
  })

  it('is gone once its time is over, or on request', async () => {
    const left = async () =>
      (await lab.db.query('select count(*)::int as n from starcite.loaded_events')).rows[0].n
    await unload(lab.pool, {})
    const all = (await load({ session: 'one' })).events
    await lab.db.query(`update starcite.loaded_events set expires_at = now() where seq <= 10`)
    expect((await shown('one')).length, 'not shown').to.equal(all - 10)
    await lab.move()
    expect(await left(), 'deleted by the job').to.equal(all - 10)
    await lab.db.query(`update starcite.loaded_events set expires_at = now() where seq <= 15`)
    await load({ session: 'redacted' })
    expect(await left(), 'deleted by the next load').to.equal(all - 15 + EACH)

    expect(await unload(lab.pool, { tenant: 'default', session: 'one' })).to.equal(all - 15)
    expect(await unload(lab.pool, {})).to.equal(EACH)
    expect(await left()).to.equal(0)
  })
})
