import { readFile } from 'node:fs/promises'
import { expect } from 'chai'
import pg from 'pg'
import { migrate } from '../../src/db/migrate.ts'
import { createLog } from '../../src/ops/log.ts'
import type { Service } from '../../src/service.ts'
import { at, unique } from '../support/answers.ts'
import { call } from '../support/client.ts'
import { startNode } from '../support/node.ts'
import { throwAwayPostgres } from '../support/throwAwayPostgres.ts'
import { until } from '../support/until.ts'
import { use } from '../support/use.ts'

/** In all that is sent here as content. */
const SECRET = 'the-secret-that-no-log-may-have'
const MARK = 'all was written before this'

describe("Postgres's own log", () => {
  const postgres = use(() =>
    throwAwayPostgres({
      logging_collector: 'on',
      log_directory: 'log',
      log_filename: 'all.log',
    }),
  )
  let node: Service
  let db: pg.Client

  before(async () => {
    await migrate(postgres.server.url, '0.0.0-test', createLog('silent'))
    node = await startNode({ url: postgres.server.url })
    db = new pg.Client(postgres.server.url)
    await db.connect()
  })
  after(async () => {
    await db?.end()
    await node?.stop()
  })

  /** All that was written before this. */
  async function written(): Promise<string> {
    const { rows } = await db.query<{ file: string }>(
      `select current_setting('data_directory') || '/log/all.log' as file`,
    )
    const file = rows[0]?.file ?? ''
    const mark = `${MARK} ${unique()}`
    await db.query(`do $$ begin raise log '${mark}'; end $$`)
    await until('the log is written', async () => (await readFile(file, 'utf8')).includes(mark))
    return readFile(file, 'utf8')
  }

  it('has nothing of content that the API refuses', async () => {
    const metadata = { of: SECRET }
    const odd = [
      `{"a":"${SECRET}\\u0000"}`,
      `{"a":"${SECRET}\\ud800"}`,
      `{"a":"${SECRET}","b":1e400}`,
      `{"a":"${SECRET}","b":1e999999}`,
      `{"${SECRET}":${'['.repeat(500)}${']'.repeat(500)}}`,
      `"${SECRET}"`,
      `["${SECRET}"]`,
      `{"a":"${SECRET}"`,
      `{"__proto__":"${SECRET}","a":1,"a":"${SECRET}"}`,
    ]
    const id = unique()
    await call('POST', `${node.url}/v1/sessions`, { id, metadata })
    const send = (method: string, url: string, text?: string) =>
      fetch(url, { method, body: text ?? null, headers: { 'content-type': 'application/json' } }).then(
        (response) => response.text(),
      )

    for (const bad of [`${SECRET}${'x'.repeat(300)}`, '', '.', `${SECRET}\u0001`, id])
      await call('POST', `${node.url}/v1/sessions`, { id: bad, title: SECRET, metadata })
    for (const text of odd) {
      await send('POST', `${node.url}/v1/sessions`, `{"title":"${SECRET}","metadata":${text}}`)
      await send('POST', `${node.url}/v1/sessions`, `{"creator_principal":${text}}`)
      await send('POST', `${node.url}/v1/sessions`, `{"title":${text}}`)
      await send('PATCH', `${node.url}/v1/sessions/${id}`, `{"metadata":${text}}`)
      await send('POST', at(node.url, id, '/append'), `{"type":"a","payload":${text}}`)
      await send(
        'POST',
        at(node.url, id, '/append'),
        `{"type":"a","payload":${text},"producer_id":"${unique()}","producer_seq":1}`,
      )
      await send(
        'POST',
        at(node.url, id, '/append'),
        `{"type":"a","payload":{},"metadata":${text},"refs":${text}}`,
      )
      await send('POST', at(node.url, id, '/events'), `{"events":[{"type":"${SECRET}","payload":${text}}]}`)
      await send('GET', `${node.url}/v1/sessions?metadata.of=${encodeURIComponent(text)}`)
    }
    expect(await written()).not.to.match(/ ERROR: /)
    expect(await written()).not.to.include(SECRET)
  })

  it('has nothing of content that procedures refuse', async () => {
    const create = 'select starcite.create_session($1, $2, $3, $4)'
    const append = 'select starcite.append($1, $2, $3::json, p_metadata => $4, p_refs => $5)'
    const metadata = `{"a":"${SECRET}"}`

    for (const [text, ...values] of [
      [create, 'default', 'x'.repeat(257), SECRET, metadata],
      [create, 'default', '', SECRET, metadata],
      [create, 'default', '.', SECRET, metadata],
      [create, 'default', null, SECRET, metadata],
      [create, null, unique(), SECRET, metadata],
      [create, 'default', unique(), SECRET, `"${SECRET}"`],
      [append, 'none', SECRET, metadata, metadata, metadata],
      [append, 'none', 'a', `"${SECRET}"`, '{}', '{}'],
      [append, 'none', 'a', '{}', `["${SECRET}"]`, '{}'],
      [append, 'none', 'a', '{}', '{}', `{"to_seq":"${SECRET}"}`],
    ] as const)
      expect(await refusal(text, values), String(values)).to.match(/^(starcite\.|session_not_found)/)
    expect(await written()).not.to.include(SECRET)
  })

  it('has nothing of what Postgres itself refuses, with the settings of docs/erasure.md', async () => {
    const text = 'select starcite.append($1, $2, $3::json)'
    const values = (secret: string) => ['none', 'a', `{"a":"${secret}\\u0000"}`]
    await db.query('set log_min_duration_statement = 0')

    await refusal(text, values(`not ${SECRET}`))
    expect(await written()).to.include(`not ${SECRET}\\u0000`)

    for (const setting of [
      'log_parameter_max_length = 0',
      'log_parameter_max_length_on_error = 0',
      'log_error_verbosity = terse',
      'log_min_error_statement = panic',
    ])
      await db.query(`set ${setting}`)
    const other = SECRET.toUpperCase()
    expect(await refusal(text, values(other))).to.match(/^unsupported Unicode/)
    await db.query('select $1::text', [other])
    expect(await written()).not.to.include(other)
  })

  /** The message. */
  const refusal = (text: string, values: readonly (string | null)[]): Promise<string> =>
    db.query(text, [...values]).then(
      () => 'none',
      (error) => error.message,
    )
})
