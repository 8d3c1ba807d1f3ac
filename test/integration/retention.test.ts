import { expect } from 'chai'
import { residueOf } from '../support/residue.ts'
import { someEvents, TieringLab } from '../support/tiering.ts'
import { useEach } from '../support/use.ts'
import { faultsOfChain } from '../support/wholeChain.ts'

describe('retention', () => {
  const lab = useEach(() => TieringLab.open())

  const due = async (view: 'sessions_due' | 'segments_due') =>
    (await lab.db.query(`select * from starcite.${view}()`)).rows
  const rule = (tenant: string | null, content: string | null, session: string | null) =>
    lab.db.query('select starcite.set_retention($1, $2, $3)', [tenant, content, session])
  const age = (id: string, days: number) =>
    lab.db.query(
      `with s as (update starcite.sessions s set updated_at = now() - $2 * interval '1 day' where s.id = $1 returning s.sid)
       update starcite.session_heads h set last_event_at = now() - $2 * interval '1 day' from s where h.sid = s.sid`,
      [id, days],
    )
  const erased = async () => {
    const { rows } = await lab.db.query(
      'select s.id from starcite.sessions s where s.erased_at is not null order by s.id',
    )
    return rows.map(({ id }) => id)
  }

  it('erases sessions that are idle for longer than their tenant, or the default, says; a dry run tells which', async () => {
    for (const [id, tenant] of [
      ['old', 'a'],
      ['young', 'a'],
      ['other', 'b'],
      ['kept', 'c'],
      ['held', 'a'],
    ] as const) {
      await lab.session(id, tenant)
      await lab.append([{ session: id, tenant, payload: `{"t":"<${id}>"}` }])
    }
    for (const id of ['old', 'held', 'kept']) await age(id, 100)
    await age('young', 20)
    await age('other', 20)
    await rule('a', null, '30 days')
    await rule(null, null, '10 days')
    await rule('c', null, null)
    await lab.db.query(`select starcite.hold_session('a', 'held', 'a case', 'counsel')`)

    expect((await due('sessions_due')).map((row) => row.session_id)).to.deep.equal(['old', 'other'])
    expect(await erased()).to.deep.equal([])
    await lab.move()

    expect(await erased()).to.deep.equal(['old', 'other'])
    expect(await due('sessions_due')).to.deep.equal([])
    expect(await residueOf(lab.db, lab.store, '<old>')).to.deep.equal([])
    expect(await residueOf(lab.db, lab.store, '<held>')).not.to.deep.equal([])
    const { rows } = await lab.db.query(`select distinct e.subject, e.state from starcite.erasures e`)
    expect(rows).to.deep.equal([{ subject: 'retention', state: 'done' }])

    await lab.db.query(`select starcite.release_session('a', 'held')`)
    await lab.move()
    expect(await erased()).to.deep.equal(['held', 'old', 'other'])
  })

  it('takes a session that something happened to meanwhile for what it is: not idle', async () => {
    await lab.session('old')
    await age('old', 100)
    await rule(null, null, '30 days')
    // Just before the job looks again, under the lock of the head.
    await lab.db.query('begin')
    await lab.append([{ session: 'old' }])
    const pass = lab.move()
    await lab.db.query('commit')
    await pass

    expect(await erased()).to.deep.equal([])
  })

  it('erases the content of segments by age, passes over what is held, and takes it up when it is released', async () => {
    const sids: string[] = []
    for (const id of ['one', 'two']) sids.push(await lab.session(id))
    await lab.append(
      someEvents([{ session: 'one' }, { session: 'two' }], 30).map((event) => ({
        ...event,
        payload: `{"t":"<${event.session}>"}`,
      })),
    )
    const [, two] = sids as [string, string]
    await lab.db.query(`select starcite.hold_session('default', 'two', 'a case')`)
    await lab.move()
    await lab.append([{ session: 'one', payload: '{"t":"<young>"}' }])
    const before = await lab.shown(two)
    await lab.db.query(`update starcite.segments g set from_at = g.from_at - interval '90 days', to_at = g.to_at - interval '90 days'
                         where g.state = 'dropped'`)
    await lab.db.query(`update starcite.settings s set value = '2 days' where s.name = 'hot_retention'`)
    const short = await rule(null, '1 day', null).catch((error) => error.code)
    expect(short, 'shorter than events stay hot').to.equal('22023')
    await rule(null, '30 days', null)

    expect(await due('segments_due')).to.have.lengthOf(1)
    expect((await due('segments_due'))[0]).to.deep.include({ events: '60', sessions: '2', held: '1' })
    await lab.move()

    expect(await due('segments_due')).to.deep.equal([])
    expect(await residueOf(lab.db, lab.store, '<one>')).to.deep.equal([])
    expect(await residueOf(lab.db, lab.store, '<young>')).not.to.deep.equal([])
    expect(await lab.shown(two)).to.deep.equal(before)
    expect(
      (await lab.tail(sids[0] as string)).map((text) => JSON.parse(text).redacted ?? false),
    ).to.deep.equal([...Array.from({ length: 30 }, () => true), false])

    expect(
      (await lab.db.query(`select starcite.release_session('default', 'two') as it`)).rows[0].it,
    ).to.equal('released')
    await lab.move()
    expect(await residueOf(lab.db, lab.store, '<two>')).to.deep.equal([])
    for (const sid of sids) expect(await faultsOfChain(lab.db, lab.store, sid)).to.deep.equal([])
  })

  it('passes over a session that is put under a hold while its object is being rewritten', async () => {
    await lab.session('one')
    await lab.append([{ session: 'one', payload: '{"t":"<one>"}' }])
    await lab.move()
    await lab.db.query(
      `update starcite.segments g set from_at = g.from_at - interval '90 days', to_at = g.to_at - interval '90 days'`,
    )
    await rule(null, '30 days', null)

    const cut = await lab
      .move({
        probe: async (step) => {
          if (step === 'rewritten')
            await lab.db.query(`select starcite.hold_session('default', 'one', 'a case')`)
        },
      })
      .catch((error: Error) => error.message)

    expect(cut).to.match(/legal hold/)
    await lab.move()
    expect(await residueOf(lab.db, lab.store, '<one>')).not.to.deep.equal([])
  })

  it('goes through many sessions in steps, and starts again after the last', async () => {
    await lab.db.query(`select starcite.create_session('default', 's' || n) from generate_series(1, 25000) n`)
    await lab.db.query(
      `update starcite.sessions set updated_at = now() - interval '90 days' where id in ('s10', 's24990')`,
    )
    await rule(null, null, '30 days')

    const found = []
    for (let pass = 0; pass < 3; pass += 1) {
      await lab.move()
      found.push(await erased())
    }

    expect(found).to.deep.equal([['s10'], ['s10', 's24990'], ['s10', 's24990']])
  })

  const requested = async () =>
    (
      await lab.db.query(
        `select coalesce(s.id, r.segment) as what from starcite.retention_requests r
           left join starcite.sessions s on s.sid = r.sid order by r.retention_request_id`,
      )
    ).rows.map(({ what }) => what)
  /** A job with a grace of a day, and a monotonic clock that goes on as this says. */
  const watchful = (start = 0) => {
    const clock = { hours: start }
    const job = lab.job({ retentionGraceMs: 86_400_000, monotonic: () => clock.hours * 3_600_000 })
    return {
      /** Time passes for the job and for the database, or for the database alone. */
      pass: async (hours: number, jumpHours = 0) => {
        clock.hours += hours
        await lab.db.query(
          `update starcite.retention_clock c set trusted_at = c.trusted_at - $1 * interval '1 hour'`,
          [hours + jumpHours],
        )
        await job.pass()
      },
      status: () => job.retention,
    }
  }

  it('requests erasures first, and carries them out after a day that it has watched pass', async () => {
    for (const id of ['gone', 'held', 'used', 'free']) await lab.session(id)
    for (const id of ['gone', 'held', 'used']) await age(id, 100)
    await rule(null, null, '30 days')
    const job = watchful()

    await job.pass(0)
    expect(await requested()).to.deep.equal(['gone', 'held', 'used'])
    await job.pass(23)
    expect(await erased()).to.deep.equal([])
    expect(job.status()).to.deep.equal({ requests: 3, clockTrusted: true })

    await lab.db.query(`select starcite.hold_session('default', 'held', 'a case')`)
    await lab.append([{ session: 'used' }])
    await job.pass(2)

    expect(await erased()).to.deep.equal(['gone'])
    expect(await requested()).to.deep.equal([])
  })

  it('counts the same time once when several nodes take turns at the job', async () => {
    await lab.session('old')
    await age('old', 100)
    await rule(null, null, '30 days')
    const clock = { hours: 0 }
    const jobs = [0, 1, 2].map(() =>
      lab.job({ retentionGraceMs: 86_400_000, monotonic: () => clock.hours * 3_600_000 }),
    )
    const passHours = async (hours: number) => {
      for (const end = clock.hours + hours; clock.hours < end; ) {
        clock.hours += 1
        await lab.db.query(
          `update starcite.retention_clock c set trusted_at = c.trusted_at - interval '1 hour'`,
        )
        await jobs[clock.hours % 3]?.pass()
      }
    }

    await passHours(20)
    expect(await requested()).to.deep.equal(['old'])
    expect(await erased(), 'after 20 hours').to.deep.equal([])
    await passHours(6)
    expect(await erased(), 'after 26 hours').to.deep.equal(['old'])
  })

  it('withdraws what was requested when the rules go', async () => {
    await lab.session('old')
    await age('old', 100)
    await rule(null, null, '30 days')
    const job = watchful()
    await job.pass(0)
    expect(await requested()).to.deep.equal(['old'])

    await lab.db.query('select starcite.set_retention(null, null, null, true)')
    await job.pass(25)

    expect(await requested()).to.deep.equal([])
    expect(await erased()).to.deep.equal([])
  })

  it('erases nothing while the clock of the database is far ahead, and goes on when it is back', async () => {
    await lab.session('young')
    await lab.session('old')
    await age('old', 100)
    await rule(null, null, '30 days')
    const job = watchful()
    await job.pass(0)
    await job.pass(12)

    await age('young', 1200) // which it is, by such a clock
    await job.pass(0, 1200 * 24)
    await job.pass(24)
    expect(await requested(), 'nothing more is requested').to.deep.equal(['old'])
    expect(await erased()).to.deep.equal([])
    const restarted = watchful(1000)
    await restarted.pass(0)
    await restarted.pass(48)
    expect(await erased(), 'a restart makes no clock right').to.deep.equal([])
    expect(restarted.status().clockTrusted).to.equal(false)

    await age('young', 1)
    await restarted.pass(0, -1200 * 24)
    await restarted.pass(10)
    expect(await erased()).to.deep.equal([])
    await restarted.pass(10)
    expect(await erased()).to.deep.equal(['old'])
    expect(await requested()).to.deep.equal([])
    expect(restarted.status().clockTrusted).to.equal(true)
  })

  it('counts time that no job has watched for an hour at most, so a clock that jumps between two jobs erases nothing', async () => {
    await lab.session('young')
    await rule(null, null, '30 days')
    await watchful().pass(0)
    await age('young', 1200)

    await watchful().pass(0, 1200 * 24)
    expect(await requested()).to.deep.equal(['young'])
    await watchful().pass(0, 1)
    expect(await erased()).to.deep.equal([])
    await age('young', 1)
    const job = watchful()
    for (let hours = 0; hours < 30; hours += 1) await job.pass(1)

    expect(await erased()).to.deep.equal([])
    expect(await requested()).to.deep.equal([])
  })

  it('trusts a clock that an operator vouches for, unless it is ahead of the clock of the node', async () => {
    await rule(null, null, '30 days')
    const job = watchful()
    await job.pass(0)
    await job.pass(0, 8)
    await job.pass(0)
    expect(job.status().clockTrusted).to.equal(false)

    await lab.db.query('select starcite.trust_clock()')
    await job.pass(0)
    await job.pass(0)
    expect(job.status().clockTrusted).to.equal(true)

    const { rows } = await lab.db.query(
      `select c.trusted, c.ahead > interval '1 hour' as ahead from starcite.observe_clock(0, now() - interval '2 hours') c`,
    )
    expect(rows).to.deep.equal([{ trusted: false, ahead: true }])
  })

  it('leaves no digest by which a guess of what it erased could be confirmed', async () => {
    for (const id of ['one', 'two']) await lab.session(id)
    await lab.append([
      { session: 'one', producer: ['p', 1], payload: '{"pin":"1234"}' },
      { session: 'two', producer: ['p', 1], payload: '{"pin":"5678"}' },
    ])
    await lab.db.query(`select starcite.hold_session('default', 'two', 'a case')`)
    await lab.move()
    await lab.append([{ session: 'one', producer: ['q', 1], payload: '{"pin":"0000"}' }])
    await lab.db.query(
      `update starcite.segments g set from_at = g.from_at - interval '90 days', to_at = g.to_at - interval '90 days'
        where g.state = 'dropped'`,
    )
    await rule(null, '30 days', null)
    await lab.move()

    const digests = async () =>
      (
        await lab.db.query(
          `select s.id || ' ' || p.producer_id as producer, p.digest <> '' as kept
             from starcite.producers p join starcite.sessions s on s.sid = p.sid order by 1`,
        )
      ).rows
    expect(await digests()).to.deep.equal([
      { producer: 'one p', kept: false },
      { producer: 'one q', kept: true },
      { producer: 'two p', kept: true },
    ])
    // As a release before left it.
    await lab.db.query(`update starcite.producers set digest = 'left' where digest = ''`)
    await lab.db.query(`update starcite.settings s set value = '0' where s.name = 'retention_digests_cursor'`)
    await lab.move()
    expect((await digests()).map((row) => row.kept)).to.deep.equal([false, true, true])

    const retry = await lab
      .append([{ session: 'one', producer: ['p', 1], payload: '{"pin":"1234"}' }])
      .catch((error: Error) => error.message)
    expect(retry).to.equal('an event was not appended: producer_replay_conflict')
  })
})
