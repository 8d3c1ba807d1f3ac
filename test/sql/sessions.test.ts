import { expect } from 'chai'
import type pg from 'pg'
import { connect } from '../support/template.ts'
import { until } from '../support/until.ts'
import { useConnection, useDatabase } from '../support/useNode.ts'

describe('sessions in SQL', () => {
  const database = useDatabase()
  const db = useConnection(database)
  const second = useConnection(database)

  const create = async (client: pg.Client, id: string, tenant = 'default'): Promise<string | null> =>
    (await client.query('select starcite.create_session($1, $2) as sid', [tenant, id])).rows[0].sid
  const isBlocked = (client: pg.Client) =>
    until('the other call waits for a lock', async () => {
      const pid = (client as unknown as { processID: number }).processID
      return (await db.query('select cardinality(pg_blocking_pids($1)) > 0 as waits', [pid])).rows[0].waits
    })

  describe('starcite.create_session', () => {
    it('makes a session with an empty log, whose chain begins with its name', async () => {
      const sid = await create(db, 'new')

      const { rows } = await db.query(
        `select s.title, s.metadata::text, s.creator_principal, s.version, s.archived, h.last_seq,
                h.chain_hash = starcite.genesis_hash('default', 'new') as chain
           from starcite.sessions s join starcite.session_heads h on h.sid = s.sid where s.sid = $1`,
        [sid],
      )
      expect(rows).to.deep.equal([
        {
          title: null,
          metadata: '{}',
          creator_principal: null,
          version: '1',
          archived: false,
          last_seq: '0',
          chain: true,
        },
      ])
    })

    it('keeps metadata to the letter, and takes null for none', async () => {
      await db.query(
        `select starcite.create_session('default', 'meta', null, '{ "b":1.0, "a": 1 }'), starcite.create_session('default', 'none', null, null)`,
      )

      const { rows } = await db.query(
        `select s.metadata::text from starcite.sessions s where s.id in ('meta', 'none') order by s.id`,
      )
      expect(rows).to.deep.equal([{ metadata: '{ "b":1.0, "a": 1 }' }, { metadata: '{}' }])
    })

    it('answers null for an id that the tenant has, erased or not, and goes on', async () => {
      await create(db, 'twice')
      expect(await create(db, 'twice')).to.equal(null)
      expect(await create(db, 'twice', 'another tenant')).not.to.equal(null)
      await db.query(`update starcite.sessions s set erased_at = now() where s.id = 'twice'`)
      expect(await create(db, 'twice')).to.equal(null)
    })

    it('takes ids of 1 to 256 bytes, as different as their bytes are', async () => {
      expect(await create(db, 'é'.repeat(128))).not.to.equal(null)
      for (const id of ['', `${'é'.repeat(128)}x`])
        expect(await create(db, id).catch((error) => error.constraint)).to.equal(
          'sessions_id_is_1_to_256_bytes',
        )
      for (const id of ['Case', 'case', 'e\u0301', '\u00e9', 'case '])
        expect(await create(db, id), id).not.to.equal(null)
    })

    it('lets one of many win, who waits for the first to commit or not', async () => {
      const racers = await Promise.all(Array.from({ length: 8 }, () => connect(database)))
      const sids = await Promise.all(racers.map((client) => create(client, 'raced')))
      await Promise.all(racers.map((racer) => racer.end()))
      expect(sids.filter((sid) => sid !== null)).to.have.length(1)

      for (const end of ['commit', 'rollback']) {
        await db.query('begin')
        await create(db, `open ${end}`)
        const waiting = create(second, `open ${end}`)
        await isBlocked(second)
        await db.query(end)
        expect((await waiting) === null).to.equal(end === 'commit')
      }
    })
  })

  describe('starcite.merge_members', () => {
    const cases: [string, string, string | null, string][] = [
      ['nothing: it stays', '{"a":1}', '{}', '{"a":1}'],
      ['null', '{"a":1}', null, '{"a":1}'],
      ['into nothing', '{}', '{"a":1}', '{"a":1}'],
      ['two empty ones', '{}', '{}', '{}'],
      ['a member in its place', '{"a":1,"b":2,"c":3}', '{"b":20}', '{"a":1,"b":20,"c":3}'],
      ['new ones at the end, in their order', '{"z":1}', '{"y":2,"a":3,"z":4}', '{"z":4,"y":2,"a":3}'],
      ['the top level only', '{"a":{"x":1,"y":2}}', '{"a":{"x":9}}', '{"a":{"x":9}}'],
      ['null as a value', '{"a":1,"b":null}', '{"a":null}', '{"a":null,"b":null}'],
      [
        'the text of values',
        '{"a":1.0}',
        '{"b":{ "k":  90071992547409930001 }}',
        '{"a":1.0,"b":{ "k":  90071992547409930001 }}',
      ],
      [
        'repeated names: the last counts',
        '{"a":1,"b":2,"a":3}',
        '{"c":4,"b":5,"c":6}',
        '{"a":3,"b":5,"c":6}',
      ],
      [
        'names that other programs trip over',
        '{"__proto__":1}',
        '{"constructor":2,"__proto__":3}',
        '{"__proto__":3,"constructor":2}',
      ],
      [
        'names in any script, however escaped',
        '{"\\u00e9":1,"日本":2}',
        '{"é":10,"🙂":3}',
        '{"é":10,"日本":2,"🙂":3}',
      ],
      ['names with quotes and control characters', '{"a\\"b":1}', '{"\\n\\\\":2}', '{"a\\"b":1,"\\n\\\\":2}'],
      ['the empty name', '{"":1}', '{"":2}', '{"":2}'],
    ]
    for (const [what, into, from, merged] of cases)
      it(`takes ${what}`, async () => {
        const { rows } = await db.query('select starcite.merge_members($1, $2)::text as merged', [into, from])
        expect(rows[0].merged).to.equal(merged)
      })
  })
})
