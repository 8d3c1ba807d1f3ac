import { readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'
import { expect } from 'chai'
import type pg from 'pg'
import { S3Store } from '../../src/objects/s3Store.ts'
import { copyOfBucket } from '../support/bucketCopy.ts'
import { S3Server } from '../support/s3Server.ts'
import { makeScratch } from '../support/scratch.ts'
import { someEvents, TieringLab } from '../support/tiering.ts'
import { use } from '../support/use.ts'

const DOCUMENT = new URL('../../docs/audit-offline.md', import.meta.url)
const EACH = 40
const SESSIONS = [
  ['acme/é', 'ses:"1"'],
  ['default', 'a'],
  ['default', 'redacted'],
] as const

/** What is written in the document, statement by statement. */
async function documentedStatements(): Promise<string[]> {
  const section = (await readFile(DOCUMENT, 'utf8')).split('\n## DuckDB')[1] ?? ''
  return [...section.matchAll(/```sql\n(.*?)```/gs)].flatMap(([, sql = '']) =>
    sql
      .split(/;\n/)
      .map((statement) => statement.trim())
      .filter((statement) => statement !== ''),
  )
}

/** What Postgres answers to a COPY TO STDOUT, which is what psql's \copy writes into a file. */
async function copied(db: pg.Client, query: string): Promise<Buffer> {
  const chunks: Buffer[] = []
  const { connection } = db as unknown as { connection: NodeJS.EventEmitter }
  const take = ({ chunk }: { chunk: Buffer }) => chunks.push(Buffer.from(chunk))
  connection.on('copyData', take)
  await db.query(`copy (${query}) to stdout csv header`)
  connection.off('copyData', take)
  return Buffer.concat(chunks)
}

describe('DuckDB, from the objects and from Postgres, with nothing of ours between', function () {
  this.timeout(120_000)
  const server = use(() => S3Server.start())
  const lab = use(() => TieringLab.open(new S3Store(server.settings)))
  let copy: Awaited<ReturnType<typeof copyOfBucket>>
  let folder: string
  let duck: DuckDBConnection
  let statements: string[]
  const sids: string[] = []

  before(async () => {
    folder = await makeScratch('duckdb')
    for (const [tenant, session] of SESSIONS) sids.push(await lab.session(session, tenant))
    const sessions = SESSIONS.map(([tenant, session]) => ({ tenant, session }))
    for (const round of [1, 2, 3]) {
      const events = someEvents(sessions, EACH)
      await lab.append(
        events.map((event) => ({
          ...event,
          ...(event.producer && { producer: [`p${round}`, event.producer[1]] as const }),
        })),
      )
      if (round < 3) await lab.move()
    }
    const before = new Map(server.objects)
    await lab.db.query(`select starcite.redact_event('default', 'redacted', 7)`)
    await lab.move({ probe: notTheHotOnes }).catch(() => {})
    // As a copy that was made meanwhile has them: the object of before, and the one that took its place.
    copy = await copyOfBucket(new Map([...before, ...server.objects]))
    const hot = `select s.tenant_id as tenant, s.id as session, e.seq, e.inserted_at as time, e.type, e.actor, e.payload
                   from starcite.events e join starcite.sessions s on s.sid = e.sid`
    await writeFile(path.join(folder, 'hot.csv'), await copied(lab.db, hot))
    duck = await (await DuckDBInstance.create(':memory:')).connect()
    statements = (await documentedStatements()).map((statement) =>
      statement
        .replaceAll("'./copy/", `'${copy.directory}/`)
        .replace("'./hot.csv'", `'${path.join(folder, 'hot.csv')}'`),
    )
  })
  after(async () => {
    duck.closeSync()
    await copy.remove()
    await rm(folder, { recursive: true, force: true })
  })

  function notTheHotOnes(step: string) {
    if (step === 'closed' || step === 'copied') throw new Error('cut')
  }
  const rows = async (sql: string) => (await duck.runAndReadAll(sql)).getRowObjectsJson()
  const next = () => statements.shift() ?? expect.fail('the document has no more statements')

  it('reads every member of every object, each event once, and with Postgres the whole logs', async () => {
    for (let views = 0; views < 3; views += 1) await duck.run(next())

    expect(await rows(next())).to.deep.equal(
      SESSIONS.map(([tenant, session]) => ({
        tenant,
        session,
        events: String(3 * EACH),
        first: '1',
        last: String(3 * EACH),
      })),
    )
    expect(await rows('select count(*)::int as n from lines where not json_valid(line)')).to.deep.equal([
      { n: 0 },
    ])
    expect(await rows('select tenant, session, seq::int as seq from cold where redacted')).to.deep.equal([
      { tenant: 'default', session: 'redacted', seq: 7 },
    ])
  })

  it('finds the fields as they were appended, and says what becomes of payloads', async () => {
    const frames = (await lab.read(sids[0] as string)).slice(0, 2 * EACH).map((text) => JSON.parse(text))
    const read = await rows(
      `select seq::int as seq, type, actor, source, idempotency_key, producer_seq::int as producer_seq, time
         from cold where tenant = 'acme/é' order by seq`,
    )
    const payloads = await rows(
      `select payload::varchar as payload from cold where session = 'a' and seq in (2, 3) order by seq`,
    )

    expect(read).to.deep.equal(
      frames.map(({ seq, type, actor, source, idempotency_key, producer_seq, inserted_at }) => ({
        ...{ seq, type, actor, source: source ?? null, idempotency_key: idempotency_key ?? null },
        ...{ producer_seq: producer_seq ?? null, time: inserted_at },
      })),
    )
    expect(payloads.map((payload) => JSON.parse(payload.payload as string))).to.deep.equal([
      { text: '\ufffd' },
      { text: 'over lines', n: 12345678901234567000 }, // sent as 12345678901234567890.00
    ])
  })

  it('recomputes the chain, and finds the event that was edited', async () => {
    await duck.run(next())
    const chain = next()
    expect(await rows(chain)).to.deep.equal([])

    await duck.run('create table kept as select * from cold')
    await duck.run(
      `create or replace view cold as select * replace (case seq when 9 then 'forged' else type end as type) from kept`,
    )

    expect(await rows(chain)).to.deep.equal(
      SESSIONS.map(([tenant, session]) => ({ tenant, session, seq: '9' })),
    )
    expect(statements, 'all that the document has was run').to.deep.equal([])
  })
})
