import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { expect } from 'chai'
import type pg from 'pg'
import { connect } from '../support/template.ts'
import { TieringLab } from '../support/tiering.ts'

const PAGE = new URL('../../docs/audit.md', import.meta.url)

/** Of each section of the page, by its heading, the blocks of SQL and the table of columns in it. */
function sectionsOf(page: string): Map<string, { readonly queries: string[]; readonly columns: string[] }> {
  const parts = page.split(/^#{2,3} /m).slice(1)
  return new Map(
    parts.map((part) => [
      part.slice(0, part.indexOf('\n')),
      {
        queries: [...part.matchAll(/^```sql\n(.*?)^```/gms)].map((match) => match[1]!),
        columns: [...part.matchAll(/^\| `(\w+)` \| ([a-z ]+) \|/gm)].map(
          (match) => `${match[1]} ${match[2]}`,
        ),
      },
    ]),
  )
}

describe('docs/audit.md', () => {
  const auditor = `starcite_test_${randomUUID().replaceAll('-', '')}`
  let sections: ReturnType<typeof sectionsOf>
  let lab: TieringLab
  let ann: pg.Client

  const admin = async (sql: string) => (await lab.db.query(sql)).rows
  const section = (name: string) => {
    const found = sections.get(name)
    if (!found) throw new Error(`docs/audit.md has no section ${name}`)
    return found
  }

  before(async () => {
    sections = sectionsOf(await readFile(PAGE, 'utf8'))
    lab = await TieringLab.open()
    const set = (actor: string, request: string) =>
      `set local starcite.actor = '${actor}'; set local starcite.request_id = '${request}'`
    for (const [tenant, session] of [
      ['acme', 'ses_claim_17'],
      ['acme', 'ses_gone'],
      ['acme', 'ses_held'],
      ['zeta', 'ses_claim_17'],
    ])
      await admin(
        `begin; ${set('user:lena', 'req-1')}; select starcite.create_session('${tenant}', '${session}', 'Claim'); commit`,
      )
    const acme = { tenant: 'acme', session: 'ses_claim_17' }
    await lab.append([
      { ...acme, actor: 'user:lena', type: 'message', payload: '{"text":"Broken windscreen"}' },
      { ...acme, actor: 'agent:claims', type: 'message', payload: '{"text":"Which car?"}' },
    ])
    await lab.move()
    await admin(`select starcite.create_session('acme', 'ses_whole')`)
    await lab.append([
      { ...acme, actor: 'user:lena', type: 'payment.approved', payload: '{"amount":1500.00}' },
      { ...acme, actor: 'user:lena', type: 'payment.approved', payload: '{"amount":200}' },
      { ...acme, actor: 'agent:claims', type: 'message', payload: '{"text":"half \\ud83d"}' },
      { ...acme, tenant: 'zeta', actor: 'user:lena', type: 'payment.approved', payload: '{"amount":9999}' },
      ...['ses_gone', 'ses_whole', 'ses_whole', 'ses_held'].map((session) => ({
        ...acme,
        session,
        actor: 'user:max',
      })),
    ])
    await admin(
      `begin; ${set('user:max', 'req-2')}; update starcite.sessions s set archived = true, title = 'Windscreen', version = s.version + 1
        where s.tenant_id = 'acme' and s.id = 'ses_claim_17'; commit`,
    )
    await admin(`select starcite.erase_session('acme', 'ses_gone', 'user:dpo', 'req-3', 'asked for')`)
    await admin(`select starcite.redact_event('acme', 'ses_whole', 2, 'user:dpo', 'req-4', 'a name')`)
    await admin(`select starcite.hold_session('acme', 'ses_held', 'case 12/2026', 'counsel')`)
    await lab.db.query(`update starcite.settings s set value = '1 day' where s.name = 'hot_retention'`)
    await lab.move() // which only removes what was erased

    for (const statement of section('Set up')
      .queries.join('')
      .replace(/\bann\b/g, auditor)
      .replace('database app', `database ${lab.database.name}`)
      .split(/;.*\n/))
      await admin(statement)
    ann = await connect(lab.database)
    await ann.query(`set session authorization ${auditor}`)
  })
  after(async () => {
    await ann.end()
    await admin('delete from starcite.tenant_grants')
    await admin(`drop owned by ${auditor}; drop role ${auditor}`)
    await lab.close()
  })

  const ask = async (name: string, query = 0) => (await ann.query(section(name).queries[query]!)).rows

  const Q3 = '3. And in all sessions of the tenant?'
  const Q8 = '8. Has any event lost its content without an erasure?'
  const ANSWERS: [string, (rows: Record<string, unknown>[]) => unknown, unknown, number?][] = [
    [
      '1. What was said in this session, by whom, and when?',
      (rows) => rows.map((row) => `${row.seq} ${row.actor} ${row.type} ${row.payload}`),
      [
        '3 user:lena payment.approved {"amount":1500.00}',
        '4 user:lena payment.approved {"amount":200}',
        '5 agent:claims message {"text":"half \\ud83d"}',
      ],
    ],
    [
      '1. What was said in this session, by whom, and when?',
      (rows) => rows,
      [{ last_seq: '5', hot_events: '3', cold_events: '2', first_hot_seq: '3' }],
      1,
    ],
    [
      '2. Was any of it altered, removed, inserted or put in another order?',
      (rows) =>
        rows.map((row) => [row.ok, row.wrong_seq, row.events, row.from_seq, row.to_seq, row.anchored]),
      [[true, null, '3', '3', '5', false]],
    ],
    [Q3, (rows) => rows, []],
    [
      '4. What did this person do, in any session, since last week?',
      (rows) => rows.map((row) => `${row.session} ${row.seq} ${row.type}`),
      ['ses_claim_17 3 payment.approved', 'ses_claim_17 4 payment.approved'],
    ],
    [
      '5. Which decisions of this kind were there, and above which amount?',
      (rows) => rows.map((row) => `${row.session} ${row.seq} ${row.actor} ${row.amount}`),
      ['ses_claim_17 3 user:lena 1500.00'],
    ],
    [
      '6. Who created, renamed and archived the session, and by which requests?',
      (rows) => rows.map((row) => `${row.kind} ${row.actor} ${row.request_id} ${row.version} ${row.title}`),
      [
        'created user:lena req-1 1 Claim',
        'updated user:max req-2 2 Windscreen',
        'archived user:max req-2 2 null',
      ],
    ],
    [
      '7. What was erased, who asked for it, why, and is it gone?',
      (rows) =>
        rows.map(
          (row) =>
            `${row.kind} ${row.session} ${row.first_seq} ${row.last_seq} ${row.actor} ${row.reason} ${row.took !== null}`,
        ),
      ['erased ses_gone 1 1 user:dpo asked for true', 'redacted ses_whole 2 2 user:dpo a name true'],
    ],
    [Q8, (rows) => rows, []],
    [
      '9. What is under a legal hold, since when, by whom and why?',
      (rows) => rows.map((row) => `${row.session} ${row.since instanceof Date} ${row.actor} ${row.reason}`),
      ['ses_held true counsel case 12/2026'],
    ],
    [
      '10. Where is event 2 of the session, and what must its bytes hash to?',
      (rows) =>
        rows.map((row) => `${row.place} ${row.byte_offset} ${/^[0-9a-f]{64}$/.test(String(row.sha256))}`),
      ['in an object 0 true'],
    ],
    ['audit.verify(tenant, session)', (rows) => rows, [{ holds: true }]],
    [
      'What a proof is worth',
      (rows) => rows.map((row) => row.session).sort(),
      ['ses_claim_17', 'ses_gone', 'ses_held', 'ses_whole'],
    ],
  ]
  for (const [question, seen, expected, query = 0] of ANSWERS)
    it(`answers "${question}"${query > 0 ? ', second part' : ''}`, async () => {
      expect(seen(await ask(question, query))).to.deep.equal(expected)
    })

  it('has ten questions, and each was asked above', () => {
    const questions = [...sections.keys()].filter((title) => /^\d+\. /.test(title))

    expect(questions).to.have.lengthOf(10)
    for (const title of questions)
      expect(
        ANSWERS.filter(([question]) => question === title),
        title,
      ).to.have.lengthOf(section(title).queries.length)
  })

  it('finds events that were deleted by hand, by questions 3 and 8', async () => {
    await admin(
      `update starcite.events e set payload = null, metadata = null, refs = null, salt = null
         from starcite.sessions s where s.sid = e.sid and s.id = 'ses_held'`,
    )

    expect(await ask(Q3)).to.deep.equal([{ session: 'ses_held', wrong_seq: '1', reason: 'changed' }])
    expect(await ask(Q8)).to.deep.equal([{ session: 'ses_held', seq: '1' }])
  })

  it('lists the columns of every view, in their order and with their types', async () => {
    const views = await admin(
      `select c.oid::regclass::text as name,
              array_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) order by a.attnum) as columns
         from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
        where c.relnamespace = 'audit'::regnamespace and c.relkind = 'v' group by c.oid`,
    )

    expect(views).to.have.lengthOf.above(6)
    for (const { name, columns } of views) expect(section(name).columns, name).to.deep.equal(columns)
    const verdict = await admin(
      `select array_agg(n || ' ' || format_type(t, null) order by o) as columns
         from pg_proc p, unnest(p.proargnames[3:], p.proallargtypes[3:]) with ordinality as u (n, t, o)
        where p.oid = 'audit.verify'::regproc`,
    )
    const { columns } = verdict[0]
    expect(section('audit.verify(tenant, session)').columns.slice(0, columns.length)).to.deep.equal(columns)
  })
})
