import { expect } from 'chai'
import type { FollowChain } from '../../src/archive/followChain.ts'
import { chainFollower } from '../../src/archive/followChain.ts'
import { verifyDatabase } from '../../src/audit/verify/verifyDatabase.ts'
import type { Step } from '../../src/tiering/step.ts'
import { someEvents, TieringLab } from '../support/tiering.ts'
import { until } from '../support/until.ts'

const DAMAGED = { tenant: 'acme', session: 'damaged' }
const OTHERS = [
  { tenant: 'acme', session: 'neighbour' },
  { tenant: 'other', session: 'damaged' },
]
const EVENTS = 30
/** The first event that is damaged, of the second segment. */
const SEQ = EVENTS + 5

interface Finding {
  readonly session: string
  readonly seq: number
  readonly reason: string
  readonly state: string
}

/** Sessions with a cold segment, a segment that is due, and, once `more` is called, later ones. */
class DamagedLab {
  readonly lab: TieringLab
  readonly sids: string[] = []
  before: Record<string, string[]>[] = []
  #round = 0

  private constructor(lab: TieringLab) {
    this.lab = lab
  }

  static async open(): Promise<DamagedLab> {
    const damaged = new DamagedLab(await TieringLab.open())
    for (const { tenant, session } of [DAMAGED, ...OTHERS])
      damaged.sids.push(await damaged.lab.session(session, tenant))
    await damaged.more()
    await damaged.lab.move()
    await damaged.more()
    return damaged
  }

  get sid(): string {
    return this.sids[0] as string
  }

  /** Another segment's worth of events; `saved` has what a backup would have. */
  async more(): Promise<void> {
    const { lab } = this
    this.#round += 1
    await lab.db.query(
      `update starcite.settings s set value = coalesce((select max(g.to_at)::text from starcite.segments g), '-infinity') where s.name = 'closed_before'`,
    )
    await lab.append(
      someEvents([DAMAGED, ...OTHERS], EVENTS).map(({ producer, ...event }) => ({
        ...event,
        ...(producer && { producer: [`p${this.#round}`, producer[1]] as const }),
      })),
    )
    await lab.db.query(
      `create table if not exists public.saved (like starcite.events);
       insert into public.saved select e.* from starcite.events e
        where not exists (select from public.saved s where s.sid = e.sid and s.seq = e.seq);
       drop table if exists public.heads; create table public.heads as select h.* from starcite.session_heads h;
       create or replace view public.e as select e.* from starcite.events e where e.sid = ${this.sid}`,
    )
    this.before = await Promise.all(
      this.sids.map((sid) =>
        lab.shown(sid).catch((error: Error) => (sid === this.sid ? {} : Promise.reject(error))),
      ),
    )
  }

  /** Puts back what the backup has of everything that is still in Postgres. */
  async mend(): Promise<void> {
    await this.lab.db.query(
      `delete from starcite.events e where e.sid = ${this.sid} or e.sid > 1000;
       insert into starcite.events select s.* from public.saved s
        where s.sid = ${this.sid} and s.seq > (select max(p.last_seq) from starcite.slices p where p.sid = s.sid);
       update starcite.session_heads h set last_seq = b.last_seq, chain_hash = b.chain_hash
         from public.heads b where b.sid = h.sid and b.sid = ${this.sid}`,
    )
  }

  async findings(): Promise<Finding[]> {
    const { rows } = await this.lab.db.query(
      'select a.session, a.seq::int, a.reason, a.state from audit.set_aside a order by a.since',
    )
    return rows
  }

  /** The last cold event, and the first and last hot one; the cold part is a prefix without a gap. */
  async tiers(sid: string): Promise<[cold: number, firstHot: number | null, lastHot: number | null]> {
    const { rows } = await this.lab.db.query(
      `select coalesce(max(s.last_seq), 0)::int as cold, coalesce(sum(s.last_seq - s.first_seq + 1), 0)::int as events,
              (select min(e.seq)::int from starcite.events e where e.sid = $1) as first,
              (select max(e.seq)::int from starcite.events e where e.sid = $1) as last
         from starcite.slices s join starcite.objects o using (object_id) join starcite.segments g on g.name = o.segment
        where s.sid = $1 and g.state in ('moved', 'dropped')`,
      [sid],
    )
    const { cold, events, first, last } = rows[0]
    expect(events, 'events of slices').to.equal(cold)
    return [cold, first, last]
  }

  async expectOthersMoved(): Promise<void> {
    for (const [i, sid] of this.sids.entries()) {
      if (sid === this.sid) continue
      expect(await this.tiers(sid)).to.deep.equal([this.#round * EVENTS, null, null])
      expect(await this.lab.shown(sid)).to.deep.equal(this.before[i])
    }
  }

  async expectAllMoved(): Promise<void> {
    await this.expectOthersMoved()
    expect(await this.tiers(this.sid)).to.deep.equal([this.#round * EVENTS, null, null])
    expect(await this.lab.shown(this.sid)).to.deep.equal(this.before[0])
    for (const segment of await this.lab.segments())
      expect(segment).to.include({ state: 'dropped', attached: false })
    expect(await this.verified()).to.deep.equal([])
  }

  /** What audit.verify says of the damaged session, of which a part is cold. */
  async verdict(): Promise<unknown> {
    const { rows } = await this.lab.db.query(
      `select v.ok, v.reason, v.wrong_seq::int as seq
         from starcite.sessions s cross join lateral audit.verify(s.tenant_id, s.id) v where s.sid = $1`,
      [this.sid],
    )
    return rows[0]
  }

  /** What `starcite audit verify` finds. */
  async verified(): Promise<string[]> {
    const found: string[] = []
    await verifyDatabase({
      db: this.lab.pool,
      store: this.lab.store,
      signal: new AbortController().signal,
      scope: {},
      onFinding: (finding) =>
        found.push(`${finding.tenant}/${finding.session} ${finding.reason} ${finding.seq}`),
    })
    return found
  }
}

/** Changes of the second segment by its owner, and the findings. */
const DAMAGES: readonly (readonly [title: string, statements: string, finding: string])[] = [
  [
    'a payload was changed',
    `update public.e set payload = '{"text":"other"}' where seq = ${SEQ}`,
    `changed ${SEQ}`,
  ],
  [
    'a payload was changed, and its digest with it',
    `update public.e set payload = '{}', content_digest = starcite.content_digest(salt, '{}', metadata, refs) where seq = ${SEQ}`,
    `broken ${SEQ}`,
  ],
  [
    'content is gone without an erasure',
    `update public.e set payload = null, metadata = null, refs = null, salt = null where seq = ${SEQ}`,
    `changed ${SEQ}`,
  ],
  ['a salt is no salt', `update public.e set salt = '\\x00' where seq = ${SEQ}`, `changed ${SEQ}`],
  ['a type was changed', `update public.e set type = 'other' where seq = ${SEQ}`, `broken ${SEQ}`],
  ['a hash was changed', `update public.e set hash = sha256(hash) where seq = ${SEQ}`, `broken ${SEQ}`],
  ['an event is gone', `delete from public.e where seq = ${SEQ}`, `missing ${SEQ}`],
  [
    'the first event after the cold ones is gone',
    `delete from public.e where seq = ${EVENTS + 1}`,
    `missing ${EVENTS + 1}`,
  ],
  [
    'the chain was computed again from another hash than that of the last cold event',
    `with recursive c as (
       select e.seq, sha256(sha256('forged') || starcite.event_link(e.seq, e.inserted_at, e.type, e.actor, e.source,
                e.producer_id, e.producer_seq, e.idempotency_key, e.content_digest)) as hash from public.e e where e.seq = ${EVENTS + 1}
       union all
       select e.seq, sha256(c.hash || starcite.event_link(e.seq, e.inserted_at, e.type, e.actor, e.source, e.producer_id,
                e.producer_seq, e.idempotency_key, e.content_digest)) from c join public.e e on e.seq = c.seq + 1)
     update public.e set hash = c.hash from c where c.seq = e.seq;
     update starcite.session_heads h set chain_hash = e.hash from public.e e where h.sid = e.sid and e.seq = h.last_seq`,
    `broken ${EVENTS + 1}`,
  ],
  [
    'an event is there that is cold already',
    `create temp table twice as select s.* from public.saved s where s.sid = (select min(sid) from public.e) and s.seq = 7;
     update twice t set producer_id = null, producer_seq = null, inserted_at = g.from_at
       from starcite.segments g where g.state = 'hot';
     insert into starcite.events select t.* from twice t`,
    'duplicate 7',
  ],
  [
    'the head says that the session ends earlier',
    `update starcite.session_heads h set last_seq = ${SEQ} where h.sid = (select min(sid) from public.e)`,
    `head ${SEQ + 1}`,
  ],
  [
    'the head has another hash',
    `update starcite.session_heads h set chain_hash = sha256(h.chain_hash) where h.sid = (select min(sid) from public.e)`,
    `head ${2 * EVENTS}`,
  ],
]

describe('a session whose log is damaged', function () {
  this.timeout(60_000)
  let damaged: DamagedLab
  let lab: TieringLab

  beforeEach(async () => {
    damaged = await DamagedLab.open()
    lab = damaged.lab
  })
  afterEach(() => lab.close())

  for (const [title, statements, finding] of DAMAGES)
    it(`is set aside when ${title}, the others move, and it moves once it is mended`, async () => {
      await lab.db.query(statements)
      const [reason, seq] = finding.split(' ') as [string, string]

      await lab.move()

      expect(await damaged.findings()).to.deep.equal([
        { session: 'damaged', seq: Number(seq), reason, state: 'set_aside' },
      ])
      expect(await damaged.verdict(), 'audit.verify').to.deep.equal({ ok: false, reason, seq: Number(seq) })
      await damaged.expectOthersMoved()
      const [cold, firstHot] = await damaged.tiers(damaged.sid)
      expect(cold).to.equal(Math.max(EVENTS, Number(seq) - 1))
      if (reason !== 'missing' && reason !== 'duplicate') expect(firstHot).to.equal(cold + 1)
      // A later segment, in which nothing is wrong; one that follows from a forged head would not be mended.
      if (!statements.includes('session_heads')) await damaged.more()
      await lab.move()
      await damaged.expectOthersMoved()
      expect((await damaged.tiers(damaged.sid))[0], 'cold part').to.equal(cold)

      await damaged.mend()
      damaged.before[0] = await lab.shown(damaged.sid)
      await lab.move()

      expect((await damaged.findings()).map(({ state }) => state)).to.deep.equal(['mended'])
      await damaged.expectAllMoved()
    })

  it('shows in tiering_status, and is not forgotten', async () => {
    await lab.db.query(`delete from public.e where seq = ${SEQ}`)
    const status = async () =>
      (
        await lab.db.query(
          'select t.set_aside_sessions::int as sessions, t.kept_segments::int as segments, t.lag::text from starcite.tiering_status t',
        )
      ).rows[0]
    const job = lab.job()

    await job.pass()

    expect(await status()).to.deep.equal({ sessions: 1, segments: 1, lag: '00:00:00' })
    expect(job.status.setAside).to.equal(1)
    await job.pass()
    expect(await damaged.findings()).to.have.lengthOf(1)
    await damaged.mend()
    await job.pass()
    expect(await status()).to.deep.equal({ sessions: 0, segments: 0, lag: '00:00:00' })
  })

  it('is set aside again when more of it is damaged', async () => {
    await lab.db.query(`update public.e set type = 'other' where seq in (${SEQ}, ${SEQ + 10})`)
    await lab.move()

    await lab.db.query(
      `update starcite.events e set type = s.type from public.saved s where s.sid = e.sid and s.seq = e.seq and e.seq = ${SEQ}`,
    )
    await lab.move()

    expect(await damaged.findings()).to.deep.equal([
      { session: 'damaged', seq: SEQ, reason: 'broken', state: 'mended' },
      { session: 'damaged', seq: SEQ + 10, reason: 'broken', state: 'set_aside' },
    ])
    expect(await damaged.tiers(damaged.sid)).to.deep.equal([SEQ + 9, SEQ + 10, 2 * EVENTS])
    await damaged.mend()
    await lab.move()
    await damaged.expectAllMoved()
  })

  it('is given up: it moves as it is, on the record, and verification goes on reporting it', async () => {
    await lab.db.query(
      `delete from public.e where seq = ${SEQ}; update public.e set payload = '{}' where seq = ${SEQ + 3}`,
    )
    await lab.move()
    await damaged.more() // before it is given up: covered by it
    const giveUp = async (tenant: string, session: string) =>
      (
        await lab.db.query(`select starcite.give_up_session($1, $2, 'no backup has it', 'ops') as it`, [
          tenant,
          session,
        ])
      ).rows[0].it
    expect(await giveUp('acme', 'nobody')).to.equal('session_not_found')
    expect(await giveUp('other', 'damaged')).to.equal('not_set_aside')

    expect(await giveUp('acme', 'damaged')).to.equal('given_up')
    await lab.move()

    await damaged.expectOthersMoved()
    const { rows } = await lab.db.query(
      'select a.state, a.given_up_by, a.given_up_why, a.given_up_through::int, a.ended_at is not null as ended from audit.set_aside a',
    )
    expect(rows).to.deep.equal([
      {
        state: 'given_up',
        given_up_by: 'ops',
        given_up_why: 'no backup has it',
        given_up_through: 3 * EVENTS,
        ended: true,
      },
    ])
    expect(await lab.count('events')).to.equal(0)
    expect(await damaged.verified()).to.deep.equal([`acme/damaged missing ${SEQ}`])
    for (const segment of await lab.segments())
      expect(segment).to.include({ state: 'dropped', attached: false })

    // What comes later is verified again.
    await damaged.more()
    await lab.move()
    expect(await damaged.findings()).to.have.lengthOf(1)
    await lab.append([{ ...DAMAGED, type: 'late' }])
    await lab.db.query(`update starcite.events e set type = 'other' where e.type = 'late'`)
    await lab.move()
    expect((await damaged.findings())[1]).to.include({
      seq: 4 * EVENTS + 1,
      reason: 'broken',
      state: 'set_aside',
    })
  })

  it('is not given up when an event is there twice: the surplus one has to go', async () => {
    await lab.db.query(DAMAGES.find(([, , finding]) => finding.startsWith('duplicate'))?.[1] as string)
    await lab.move()

    const { rows } = await lab.db.query(`select starcite.give_up_session('acme', 'damaged', 'why') as it`)

    expect(rows[0].it).to.equal('cannot_be_given_up')
  })

  it('is erased: what is kept loses its content, and moves without it', async () => {
    await lab.db.query(`update public.e set payload = '{}' where seq = ${SEQ}`)
    await lab.move()

    await lab.db.query(`select starcite.erase_session('acme', 'damaged')`)
    await lab.move()

    const { rows } = await lab.db.query('select x.state, x.hot_events::int from starcite.erasures x')
    expect(rows).to.deep.equal([{ state: 'done', hot_events: 2 * EVENTS - SEQ + 1 }])
    expect((await damaged.findings()).map(({ state }) => state)).to.deep.equal(['mended'])
    expect(await damaged.verified()).to.deep.equal([])
    const stored = []
    for await (const { key } of lab.store.list('v1/')) stored.push(key)
    const named = await lab.db.query('select o.key from starcite.objects o order by 1')
    expect(stored.sort()).to.deep.equal(named.rows.map(({ key }) => key).sort())
  })

  it('loses by age what moves after retention has been at its segment', async () => {
    await lab.db.query(`update public.e set type = 'other' where seq = ${SEQ}`)
    await lab.db.query(
      `insert into starcite.retention_rules (tenant_id, content_after) values (null, '-20 years')`,
    )
    await lab.move()
    await lab.move()
    expect((await lab.read(damaged.sid)).filter((text) => text.includes('"redacted":true'))).to.have.lengthOf(
      SEQ - 1,
    )

    await damaged.mend()
    await lab.move()

    expect((await lab.read(damaged.sid)).filter((text) => text.includes('"redacted":true'))).to.have.lengthOf(
      2 * EVENTS,
    )
    const { rows } = await lab.db.query(`select distinct x.state from starcite.erasures x`)
    expect(rows).to.deep.equal([{ state: 'done' }])
  })

  it('has no row in sessions: its events stay, and the others move', async () => {
    await lab.db.query(
      `set session_replication_role = replica;
       create table public.sessions as select s.* from starcite.sessions s where s.sid = ${damaged.sid};
       delete from starcite.sessions s where s.sid = ${damaged.sid}`,
    )

    await lab.move()

    await damaged.expectOthersMoved()
    const { rows } = await lab.db.query('select a.sid, a.seq::int, a.reason from starcite.set_aside a')
    expect(rows).to.deep.equal([{ sid: damaged.sid, seq: EVENTS + 1, reason: 'missing' }])
    expect(await lab.count('events')).to.equal(EVENTS)
    await lab.move()
    await lab.db.query('insert into starcite.sessions overriding system value select * from public.sessions')
    await lab.move()
    await damaged.expectAllMoved()
  })

  it('is followed by the hash in the object where an older release has moved what is before it', async () => {
    await lab.db.query('update starcite.slices s set last_hash = null')
    await lab.db.query(`update public.e set hash = sha256(hash) where seq = ${EVENTS + 1}`)

    await lab.move()

    expect(await damaged.findings()).to.deep.equal([
      { session: 'damaged', seq: EVENTS + 1, reason: 'broken', state: 'set_aside' },
    ])
    await damaged.expectOthersMoved()
  })

  it('does not stop the others when the object before it is gone', async () => {
    await lab.db.query('update starcite.slices s set last_hash = null')
    const { rows } = await lab.db.query(`select o.key from starcite.objects o where o.tenant_id = 'other'`)
    await lab.store.delete(rows[0].key)

    await lab.move()

    expect(await damaged.findings()).to.deep.equal([
      { session: 'damaged', seq: EVENTS + 1, reason: 'broken', state: 'set_aside' },
    ])
    expect(await damaged.tiers(damaged.sids[1] as string)).to.deep.equal([2 * EVENTS, null, null])
  })

  it('does not stop the others when something else lies under the name of an object', async () => {
    const { putNew } = lab.store
    const spoiled = new Set<string>()
    lab.store.putNew = async (key, body, signal) => {
      if (spoiled.size === 0) {
        spoiled.add(key)
        await putNew.call(lab.store, key, Buffer.from('something else'), signal)
      }
      return putNew.call(lab.store, key, body, signal)
    }

    await lab.move()

    expect(spoiled).to.have.lengthOf(1)
    await damaged.expectAllMoved()
  })

  for (const [perPass, passes, what] of [
    [1, 2, 'come after it'],
    [2, 1, 'are looked at in the same pass'],
  ] as const)
    it(`does not hold up, when it fails, those set aside that ${what}`, async () => {
      const other = damaged.sids[1] as string
      const spoil = (sid: string, seq: number) =>
        lab.db.query(
          `update starcite.events e set payload = '{"of":"no one"}' where e.sid = $1 and e.seq = $2`,
          [sid, seq],
        )
      await spoil(other, SEQ)
      await lab.move()
      await damaged.more()
      await spoil(damaged.sid, 2 * EVENTS + 5)
      await lab.move()
      await lab.move() // from here on, repairs pass
      expect(await damaged.findings()).to.have.lengthOf(2)
      await lab.db.query(
        `update starcite.events e set payload = s.payload from public.saved s where s.sid = e.sid and s.seq = e.seq;
         update starcite.set_aside a set checked_at = '-infinity' where a.sid = ${damaged.sid}`,
      )
      const follow: FollowChain = (owner, after) => {
        if (owner.tenantId === DAMAGED.tenant && owner.sessionId === DAMAGED.session)
          throw new Error('a fault')
        return chainFollower()(owner, after)
      }

      const failures: string[] = []
      for (let i = 0; i < passes; i += 1)
        await lab
          .move({ follow, setAsidePerPass: perPass })
          .catch((error: Error) => failures.push(error.message))

      expect(failures).to.deep.equal(['a fault'])
      expect(await damaged.tiers(other)).to.deep.equal([3 * EVENTS, null, null])
      const [, second, third] = await lab.segments()
      expect([second?.attached, third?.attached], 'the partition that keeps nothing is gone').to.deep.equal([
        false,
        true,
      ])
    })

  it('is moved, kept and mended when the job loses its connection at any step', async () => {
    /** A pass that is cut at the n-th probe: answers its step; undefined when there were fewer. */
    const cut = async (nth: number): Promise<Step | undefined> => {
      let probes = 0
      let at: Step | undefined
      const job = lab.job({
        probe: async (step) => {
          probes += 1
          if (probes !== nth) return
          at = step
          await lab.db.query(
            `select pg_terminate_backend(a.pid, 5000) from pg_catalog.pg_stat_activity a
              where a.datname = current_database() and a.application_name = 'starcite tiering'`,
          )
        },
      })
      await until('a pass is cut, or has nothing more to do', async () => {
        const outcome = await job.pass().catch((error: Error) => error)
        if (at !== undefined) expect(outcome, at).to.be.instanceOf(Error)
        return at !== undefined || (!(outcome instanceof Error) && outcome.ran)
      })
      return at
    }
    await lab.db.query(`update public.e set type = 'other' where seq = ${SEQ}`)
    for (const phase of ['damaged', 'mended'] as const) {
      const steps = new Set<Step>()
      // Each pass gets as far as one before, or one step further; after the recorded part it starts again.
      for (let nth = 1; ; ) {
        const step = await cut(nth)
        await damaged.tiers(damaged.sid) // a prefix, at any time
        for (const [i, sid] of damaged.sids.entries())
          if (i > 0) expect(await lab.read(sid), step).to.deep.equal(damaged.before[i]?.['by a tail'])
        if (step === undefined) break
        nth = steps.has(step) && step !== 'recorded' ? nth + 1 : 1
        steps.add(step)
      }
      if (phase === 'mended') expect(steps).to.include.keys('stored', 'detached', 'dropped')
      else {
        expect(steps).to.include.keys('closed', 'stored', 'copied', 'kept')
        await damaged.mend()
        damaged.before[0] = await lab.shown(damaged.sid)
      }
    }

    await damaged.expectAllMoved()
  })
})
