import { expect } from 'chai'
import { appendEvents, briefly, createSessions } from '../support/appendEvents.ts'
import { faultsOfLog } from '../support/chain.ts'
import { connect } from '../support/template.ts'
import { useConnectionEach, useDatabaseEach } from '../support/useNode.ts'

interface Segment {
  readonly name: string
  readonly from: string
  readonly to: string
}

describe('segments', () => {
  const database = useDatabaseEach()
  const db = useConnectionEach(database)
  const second = useConnectionEach(database)

  const ensure = async (at: string, client = db): Promise<string> =>
    (await client.query('select starcite.ensure_segment($1) as name', [at])).rows[0].name
  const setInterval = (interval: string) =>
    db.query(`update starcite.settings s set value = $1 where s.name = 'segment_interval'`, [interval])
  const segments = async (): Promise<Segment[]> =>
    (
      await db.query(
        `select s.name, starcite.wire_time(s.from_at) as from, starcite.wire_time(s.to_at) as to
           from starcite.segments s order by s.from_at`,
      )
    ).rows
  const ranges = async () =>
    (await segments()).map((segment) =>
      `${segment.from} ${segment.to}`
        .replaceAll(/T|:00\.000000Z|\.000000Z/g, ' ')
        .replaceAll(/ +/g, ' ')
        .trim(),
    )
  /** Sets the clock back, as far as a session can tell: its last event was at that time. */
  const setLastEventAt = (session: string, at: string) =>
    db.query(
      `update starcite.session_heads h set last_event_at = $2 from starcite.sessions s where s.sid = h.sid and s.id = $1`,
      [session, at],
    )

  it('are not configured with an interval that nothing could work with', async () => {
    const before = await db.query('select * from starcite.settings order by name')
    for (const [width, retention] of [
      ['6 hours', '-1 hour'],
      ['6 hours', null],
      ['0', '1 day'],
      ['-6 hours', '1 day'],
      ['1 millisecond', '1 day'],
      ['1 month', '1 day'],
      ['1 year', '1 day'],
      ['1 month -30 days', '1 day'],
      ['366000 days', '1 day'],
      ['6 hours', '290000 years'],
      [null, '1 day'],
    ])
      expect(
        await db.query('select starcite.configure($1, $2)', [width, retention]).catch((error) => error.code),
        `${width}, ${retention}`,
      ).to.equal('22023')
    expect((await db.query('select * from starcite.settings order by name')).rows).to.deep.equal(before.rows)

    await db.query(`select starcite.configure('2 days', '0')`)
    await ensure('2026-01-01T00:00:00Z')
  })

  it('holds the time asked for, from a round time on, and is made once', async () => {
    const name = await ensure('2026-11-23 14:25:25.41+00')

    expect(await ensure('2026-11-23 12:00:00+00')).to.equal(name)
    expect(await ensure('2026-11-23 17:59:59.999999+00')).to.equal(name)
    expect(await segments()).to.deep.equal([
      {
        name: 'events_20261123t120000',
        from: '2026-11-23T12:00:00.000000Z',
        to: '2026-11-23T18:00:00.000000Z',
      },
    ])
    expect(await ensure('2026-11-23 18:00:00+00'), 'its end belongs to the next').to.equal(
      'events_20261123t180000',
    )
  })

  it('has its two unique indexes and that of auditors, and no lock is left behind', async () => {
    const name = await ensure('2026-11-23 14:00:00+00')

    const { rows } = await db.query(
      `select pg_catalog.pg_get_indexdef(i.indexrelid) as definition from pg_catalog.pg_index i
        where i.indrelid = pg_catalog.to_regclass('starcite.' || $1) order by 1`,
      [name],
    )
    expect(rows.map((row) => row.definition.replace(/^.* USING /, ''))).to.have.members([
      'btree (sid, seq)',
      'btree (sid, producer_id, producer_seq) WHERE (producer_id IS NOT NULL)',
      "brin (inserted_at, actor text_bloom_ops, type text_bloom_ops) WITH (pages_per_range='16', autosummarize='on')",
    ])
    const locks = await db.query(
      `select from pg_catalog.pg_locks l where l.locktype = 'advisory' and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())`,
    )
    expect(locks.rowCount).to.equal(0)
  })

  it('is made once by many who find none, and all of them append', async () => {
    const clients = await Promise.all(Array.from({ length: 8 }, () => connect(database)))
    const sessions = clients.map((_, i) => `s${i}`)
    await createSessions(db, ...sessions, 'shared')

    const outcomes = await Promise.all(
      clients.map((client, i) => appendEvents(client, [{ session: sessions[i]! }, { session: 'shared' }])),
    )
    await Promise.all(clients.map((client) => client.end()))

    expect(outcomes.flat().every((outcome) => outcome.outcome === 'appended')).to.equal(true)
    expect(await faultsOfLog(db, 'shared')).to.deep.equal([])
    expect(await segments()).to.have.length(1)
  })

  it('is made once by many who ask for the same time, and for times beside each other', async () => {
    await setInterval('1 second')
    const clients = await Promise.all(Array.from({ length: 6 }, () => connect(database)))
    const times = Array.from({ length: 4 }, (_, i) => `2026-01-01 00:00:0${i}.5+00`)

    await Promise.all(
      clients.map(async (client) => {
        for (const at of times) await ensure(at, client)
      }),
    )
    await Promise.all(clients.map((client) => client.end()))

    expect(await segments()).to.have.length(4)
  })

  it('takes any width, and leaves neither holes nor overlaps', async () => {
    for (const [interval, at] of [
      ['1 second', '2026-02-01 00:00:00.25+00'],
      ['1.5 seconds', '2026-03-01 00:00:00.25+00'],
      ['7 hours', '2026-04-01 00:00:00+00'],
      ['2592000 seconds', '2026-06-01 00:00:00+00'],
      ['30 days', '2030-03-15 00:00:00+00'],
    ] as const) {
      await setInterval(interval)
      let next = at as string
      for (let i = 0; i < 3; i += 1) {
        const name = await ensure(next)
        const { rows } = await db.query(
          `select s.to_at::text as to_at, s.from_at <= $2 and $2 < s.to_at as holds_it,
                  s.to_at - s.from_at = ($3::text)::interval as is_so_wide
             from starcite.segments s where s.name = $1`,
          [name, next, interval],
        )
        expect(rows[0]).to.include({ holds_it: true, is_so_wide: true })
        next = rows[0].to_at
      }
    }
    const { rows } = await db.query(
      `select from starcite.segments a join starcite.segments b on a.name < b.name
          and tstzrange(a.from_at, a.to_at) && tstzrange(b.from_at, b.to_at)`,
    )
    expect(rows).to.deep.equal([])
  })

  it('fits between neighbours that were made under another interval', async () => {
    await setInterval('1 hour')
    await ensure('2026-11-23 02:30:00+00')
    await ensure('2026-11-23 04:30:00+00')
    await setInterval('6 hours')

    await ensure('2026-11-23 03:10:00+00')
    await ensure('2026-11-23 00:10:00+00')
    await ensure('2026-11-23 05:10:00+00')

    expect(await ranges()).to.deep.equal([
      '2026-11-23 00:00 2026-11-23 02:00',
      '2026-11-23 02:00 2026-11-23 03:00',
      '2026-11-23 03:00 2026-11-23 04:00',
      '2026-11-23 04:00 2026-11-23 05:00',
      '2026-11-23 05:00 2026-11-23 06:00',
    ])
  })

  it('has a name of its own beside one that began in the same second', async () => {
    await setInterval('1.5 seconds')
    await ensure('2000-01-01 00:00:02+00')
    await setInterval('1 second')
    await ensure('2000-01-01 00:00:01+00')

    expect((await segments()).map((segment) => segment.name)).to.deep.equal([
      'events_20000101t000001_2',
      'events_20000101t000001',
    ])
  })

  it('has a name of its own beside a table that is on its way out', async () => {
    const name = await ensure('2026-11-23 14:00:00+00')
    await db.query(`alter table starcite.events detach partition starcite.${name}`)
    await db.query('delete from starcite.segments')

    expect(await ensure('2026-11-23 14:00:00+00')).to.equal(`${name}_2`)
  })

  it('has the same bounds in every time zone and date style of its caller', async () => {
    await setInterval('30 days')
    await second.query(`set timezone = 'America/New_York'; set datestyle = 'SQL, DMY'`)
    const first = await ensure('2026-03-01 00:00:00+00', second)
    await second.query(`set timezone = 'Asia/Kolkata'; set datestyle = 'Postgres, MDY'`)
    const next = await ensure('2026-04-04 00:00:00+00', second)

    const { rows } = await db.query(
      `select s.name, s.to_at - s.from_at = interval '720 hours' as is_whole,
              pg_catalog.pg_get_expr(c.relpartbound, c.oid)
                = pg_catalog.format('FOR VALUES FROM (%L) TO (%L)', s.from_at, s.to_at) as is_attached_so
         from starcite.segments s join pg_catalog.pg_class c on c.relname = s.name order by s.from_at`,
    )
    expect(rows).to.deep.equal([first, next].map((name) => ({ name, is_whole: true, is_attached_so: true })))
  })

  it('is made by an append that finds none, and undone with it', async () => {
    await createSessions(db, 'a')
    await db.query('begin')
    await appendEvents(db, [{ session: 'a' }])
    expect(await segments()).to.have.length(1)
    await db.query('rollback')
    expect(await segments()).to.have.length(0)

    expect(briefly(await appendEvents(db, [{ session: 'a' }]))).to.deep.equal(['appended 1'])
    expect(await segments()).to.have.length(1)
  })

  it('is not made for events that are refused', async () => {
    await createSessions(db, 'a', 'future')
    await setLastEventAt('future', '2200-01-01')

    await appendEvents(db, [{ session: 'future', expectedSeq: 9 }, { session: 'a' }])

    expect(await segments()).to.have.length(1)
  })

  it('never lets time run backwards in a session, even when the clock does', async () => {
    await createSessions(db, 'a', 'future')
    await setLastEventAt('future', '2200-01-01T01:02:03.000004Z')

    await appendEvents(db, [{ session: 'future' }, { session: 'a' }, { session: 'future' }])
    await appendEvents(db, [{ session: 'future' }])

    const { rows } = await db.query(
      `select e.seq::int, starcite.wire_time(e.inserted_at) as at, e.tableoid::regclass::text as segment
         from starcite.events e join starcite.sessions s on s.sid = e.sid where s.id = 'future' order by e.seq`,
    )
    expect(rows).to.deep.equal(
      [5, 5, 6].map((microsecond, i) => ({
        seq: i + 1,
        at: `2200-01-01T01:02:03.00000${microsecond}Z`,
        segment: 'starcite.events_22000101t000000',
      })),
    )
    expect(await faultsOfLog(db, 'future')).to.deep.equal([])
    expect(await segments()).to.have.length(2)
  })

  it('lets appends and reads go on while another is being attached, and is attached while they are under way', async () => {
    await createSessions(db, 'a')
    await appendEvents(db, [{ session: 'a' }])
    for (const client of [db, second]) await client.query(`set lock_timeout = '500ms'`)

    await db.query('begin')
    await ensure('2100-01-01', db)
    expect(briefly(await appendEvents(second, [{ session: 'a' }]))).to.deep.equal(['appended 2'])
    expect((await second.query('select from starcite.events')).rowCount).to.equal(2)
    await db.query('commit')

    await db.query('begin')
    await appendEvents(db, [{ session: 'a' }])
    await db.query('select from starcite.events')
    await ensure('2101-01-01', second)
    await db.query('commit')
    expect(await segments()).to.have.length(3)
  })

  it('keeps seqs unique across the boundary between two', async () => {
    await createSessions(db, 'a')
    await setLastEventAt('a', '2100-01-01T05:59:59.999998Z')
    await appendEvents(db, [{ session: 'a', producer: ['p', 1] }])
    await setLastEventAt('a', '2100-01-01T06:00:00Z')

    const outcomes = await appendEvents(db, [
      { session: 'a', producer: ['p', 2] },
      { session: 'a', producer: ['p', 1] },
    ])

    expect(briefly(outcomes)).to.deep.equal(['appended 2', 'deduped 1'])
    expect(await segments()).to.have.length(2)
    expect(await faultsOfLog(db, 'a')).to.deep.equal([])
  })
})
