import { expect } from 'chai'
import type pg from 'pg'
import { createSessions } from '../support/appendEvents.ts'
import { faultsOfLog } from '../support/chain.ts'
import { useConnection, useDatabase } from '../support/useNode.ts'

describe('starcite.append', () => {
  const database = useDatabase()
  const db = useConnection(database)
  const other = useConnection(database)
  let s: string
  let sessions = 0

  before(async () => {
    await db.query('create table public.orders (id int primary key, state text)')
  })
  beforeEach(async () => {
    sessions += 1
    s = `s${sessions}`
    await createSessions(db, s)
  })

  /** Named arguments beside the session; the answer's one row, or the error. */
  async function append(args: Record<string, unknown> = {}, client = db) {
    const given = { session_id: s, type: 'order.paid', payload: '{"order":7}', ...args }
    const names = Object.keys(given).map((name, i) => `p_${name} => $${i + 1}`)
    const { rows } = await client.query(
      `select a.seq::int, a.last_seq::int, a.deduped from starcite.append(${names.join(', ')}) a`,
      Object.values(given),
    )
    return rows[0]
  }
  const refusal = (args: Record<string, unknown>) =>
    append(args).then(
      () => expect.fail('nothing was refused'),
      (error: pg.DatabaseError) => error,
    )
  const seqs = async () =>
    (
      await db.query(
        'select e.seq::int from starcite.events e join starcite.sessions s on s.sid = e.sid where s.id = $1 order by e.seq',
        [s],
      )
    ).rows.map((row) => row.seq)

  it('needs a session, a type and a payload, in this order', async () => {
    const { rows } = await db.query(`select * from starcite.append($1, 'note', '{"text": "hi"}')`, [s])

    expect(rows).to.deep.equal([{ seq: '1', last_seq: '1', deduped: false }])
    const stored = await db.query(
      `select e.type, e.actor, e.source, e.producer_id, e.payload::text, e.metadata::text, e.refs::text
         from starcite.events e join starcite.sessions s on s.sid = e.sid where s.id = $1`,
      [s],
    )
    expect(stored.rows).to.deep.equal([
      {
        type: 'note',
        actor: 'anonymous',
        source: null,
        producer_id: null,
        payload: '{"text": "hi"}',
        metadata: '{}',
        refs: '{}',
      },
    ])
  })

  it('takes json, jsonb, text, and literals and parameters without a type', async () => {
    for (const [payload, values] of [
      [`'{"a": 1}'`, []],
      [`'{"a": 1}'::json`, []],
      [`'{"a": 1}'::text`, []],
      [`'{"a": 1}'::jsonb`, []],
      [`jsonb_build_object('a', 1)`, []],
      [`json_build_object('a', 1)`, []],
      ['$1', ['{"a": 1}']],
    ] as const) {
      for (const call of [
        `starcite.append('${s}', 't', ${payload})`,
        `starcite.append(p_session_id => '${s}', p_type => 't', p_payload => ${payload}, p_metadata => '{"m": 1}', p_refs => '{}')`,
      ])
        expect((await db.query(`select a.deduped from ${call} a`, [...values])).rows, call).to.deep.equal([
          { deduped: false },
        ])
    }
    await db.query(`select starcite.append('${s}', 't', '{"a": 1}'::jsonb, p_metadata => '{"m": 1}'::jsonb)`)

    const { rows } = await db.query(
      'select distinct e.payload::jsonb::text as payload from starcite.events e join starcite.sessions s using (sid) where s.id = $1',
      [s],
    )
    expect(rows).to.deep.equal([{ payload: '{"a": 1}' }])
    expect(
      await db.query(`select starcite.append('${s}', 't', 'no json')`).catch((error) => error.code),
    ).to.equal('22P02')
  })

  it('answers a retry with the seq of the original', async () => {
    const retry = { producer_id: 'p', producer_seq: 1, expected_seq: 0 }
    await append(retry)
    await append()

    expect(await append(retry)).to.deep.equal({ seq: 1, last_seq: 2, deduped: true })
  })

  it('finds sessions of other tenants by p_tenant_id', async () => {
    await db.query(`select starcite.create_session('acme', 'only theirs')`)

    expect(await append({ session_id: 'only theirs', tenant_id: 'acme' })).to.include({ seq: 1 })
    expect(await refusal({ session_id: 'only theirs' })).to.have.property('code', 'SC404')
  })

  it('commits with the work it stands beside', async () => {
    await db.query('begin')
    await db.query(`insert into public.orders values (1, 'paid')`)
    await append()
    await db.query('commit')

    expect((await db.query('select from public.orders o where o.id = 1')).rowCount).to.equal(1)
    expect(await seqs()).to.deep.equal([1])
  })

  it('is undone with the work it stands beside, and leaves no hole', async () => {
    await db.query('begin')
    await append({ producer_id: 'p', producer_seq: 1 })
    await db.query('rollback')

    expect(await append({ producer_id: 'p', producer_seq: 1, expected_seq: 0 })).to.include({
      seq: 1,
      deduped: false,
    })
    expect(await seqs()).to.deep.equal([1])
  })

  it('continues one chain through several appends of one transaction', async () => {
    await db.query('begin')
    for (const n of [1, 2, 3]) expect(await append()).to.include({ seq: n })
    await db.query('commit')

    expect(await faultsOfLog(db, s)).to.deep.equal([])
  })

  it('is undone to a savepoint, and a refusal costs no more than that', async () => {
    await db.query('begin')
    await append()
    await db.query('savepoint before')
    await append()
    await db.query('rollback to savepoint before')
    expect(await refusal({ expected_seq: 7 })).to.have.property('code', 'SC001')
    await db.query('rollback to savepoint before')
    expect(await append()).to.include({ seq: 2 })
    await db.query('commit')

    expect(await seqs()).to.deep.equal([1, 2])
    expect(await faultsOfLog(db, s)).to.deep.equal([])
  })

  it('appends what a query finds, one event per row', async () => {
    await db.query(`insert into public.orders values (11, 'paid'), (12, 'paid')`)
    await db.query(
      `select starcite.append($1, 'order.' || o.state, pg_catalog.json_build_object('order', o.id))
         from public.orders o where o.id > 10 order by o.id`,
      [s],
    )

    expect(await seqs()).to.deep.equal([1, 2])
  })

  describe('raises', () => {
    it('SC404 for a session that is not there, SC410 for one that was erased', async () => {
      expect(await refusal({ session_id: 'nowhere' })).to.include({ code: 'SC404', detail: undefined })
      await db.query('update starcite.sessions s set erased_at = now() where s.id = $1', [s])
      expect(await refusal({})).to.include({ code: 'SC410', detail: undefined })
    })

    it('SC001 with current_seq', async () => {
      await append()
      const error = await refusal({ expected_seq: 5 })
      expect(error.code).to.equal('SC001')
      expect(JSON.parse(error.detail ?? '')).to.deep.equal({ current_seq: 1 })
      expect(error.message).to.match(/^expected_seq_conflict: /)
    })

    it('SC002 with expected_producer_seq', async () => {
      await append({ producer_id: 'p', producer_seq: 3 })
      const error = await refusal({ producer_id: 'p', producer_seq: 9 })
      expect(error.code).to.equal('SC002')
      expect(JSON.parse(error.detail ?? '')).to.deep.equal({ expected_producer_seq: 4 })
    })

    it('SC003 for another event under a used number', async () => {
      await append({ producer_id: 'p', producer_seq: 3 })
      expect(await refusal({ producer_id: 'p', producer_seq: 3, type: 'x' })).to.include({
        code: 'SC003',
        detail: undefined,
      })
    })

    const invalid: [string, Record<string, unknown>, RegExp][] = [
      ['no type', { type: null }, /type must be/],
      ['an empty type', { type: '' }, /type must be/],
      ['no actor', { actor: null }, /actor must be/],
      ['an empty actor', { actor: '' }, /actor must be/],
      ['an empty source', { source: '' }, /source must be/],
      ['an empty idempotency_key', { idempotency_key: '' }, /idempotency_key must be/],
      ['an empty producer_id', { producer_id: '', producer_seq: 1 }, /producer_id must be/],
      ['a producer_id alone', { producer_id: 'p' }, /go together/],
      ['a producer_seq alone', { producer_seq: 1 }, /go together/],
      ['producer_seq 0', { producer_id: 'p', producer_seq: 0 }, /producer_seq must be/],
      [
        'a producer_seq that JSON readers round',
        { producer_id: 'p', producer_seq: '9007199254740992' },
        /producer_seq must be/,
      ],
      ['a negative expected_seq', { expected_seq: -1 }, /expected_seq must be/],
      ['a type that fits no index', { type: 'x'.repeat(513) }, /at most 512/],
      ['no payload', { payload: null }, /payload must be/],
      ['a payload that is an array', { payload: '[1]' }, /payload must be/],
      ['a payload that is null', { payload: 'null' }, /payload must be/],
      ['metadata that is no object', { metadata: '"x"' }, /metadata must be/],
      ['refs that are no object', { refs: '7' }, /refs must be/],
      ['refs.to_seq below 0', { refs: '{"to_seq":-1}' }, /to_seq/],
      ['refs.step that is no integer', { refs: '{"step":1.5}' }, /step/],
      ['refs.to_seq that is a list', { refs: '{"to_seq":[1]}' }, /to_seq/],
      ['refs.request_id that is a number', { refs: '{"request_id":7}' }, /request_id/],
      ['refs.sequence_id that is an object', { refs: '{"sequence_id":{}}' }, /sequence_id/],
    ]
    for (const [what, args, message] of invalid)
      it(`22023 for ${what}`, async () => {
        const error = await refusal(args)
        expect(error.code).to.equal('22023')
        expect(error.message).to.match(message)
        expect(await seqs()).to.deep.equal([])
      })

    it('22P05 for what Postgres text cannot hold', async () => {
      for (const name of ['payload', 'metadata', 'refs'])
        expect(await refusal({ [name]: '{"a":"\\u0000"}' })).to.have.property('code', '22P05')
    })
  })

  it('takes what may stand in refs and metadata', async () => {
    const refs = '{"to_seq":0,"step":12,"request_id":"r","sequence_id":null,"free":[1.5,{"to_seq":-1}]}'
    expect(await append({ refs, metadata: '{"to_seq":-1}' })).to.include({ seq: 1 })
    expect(await append({ refs: null, metadata: null })).to.include({ seq: 2 })
    expect(await append({ payload: '{"half":"\\ud83d"}' })).to.include({ seq: 3 })
  })

  describe('in repeatable read', () => {
    const begin = async () => {
      await db.query('begin isolation level repeatable read')
      await db.query('select from starcite.sessions') // takes the snapshot
    }
    afterEach(() => db.query('rollback'))

    it('appends, again and again', async () => {
      await begin()
      expect(await append()).to.include({ seq: 1 })
      expect(await append({ producer_id: 'p', producer_seq: 1 })).to.include({ seq: 2 })
      expect(await append({ producer_id: 'p', producer_seq: 1 })).to.include({ seq: 2, deduped: true })
      await db.query('commit')
      expect(await faultsOfLog(db, s)).to.deep.equal([])
    })

    it('is a serialization failure after another transaction appended', async () => {
      await begin()
      await append({}, other)
      expect(await refusal({})).to.have.property('code', '40001')
    })

    it('is a serialization failure when the segment is newer than the snapshot', async () => {
      await db.query(
        `update starcite.session_heads h set last_event_at = '2100-01-01' from starcite.sessions s where s.sid = h.sid and s.id = $1`,
        [s],
      )
      await begin()
      await other.query(`select starcite.ensure_segment('2100-01-01')`)
      expect(await refusal({})).to.have.property('code', '40001')
      await db.query('rollback')
      expect(await append()).to.include({ seq: 1 })
    })

    it('does not see a session that is newer than the snapshot', async () => {
      await begin()
      await createSessions(other, `${s} late`)
      expect(await refusal({ session_id: `${s} late` })).to.have.property('code', 'SC404')
    })
  })

  it('is refused in a read-only transaction', async () => {
    await db.query('begin read only')
    const error = await refusal({})
    await db.query('rollback')
    expect(error.code).to.equal('25006')
  })
})
