import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'chai'
import pg from 'pg'
import { DamagedSchemaError } from '../../src/db/install.ts'
import { migrate } from '../../src/db/migrate.ts'
import { createLog } from '../../src/ops/log.ts'
import { at } from '../support/answers.ts'
import { call } from '../support/client.ts'
import { describeSchema } from '../support/describeSchema.ts'
import { startNode } from '../support/node.ts'
import { programOf } from '../support/programs.ts'
import { systemPostgres } from '../support/systemPostgres.ts'
import { connect } from '../support/template.ts'
import { type ThrowAwayPostgres, throwAwayPostgres } from '../support/throwAwayPostgres.ts'

const ROOT = new URL('../../', import.meta.url)
const PROGRAM = programOf('src/cli/main.ts')
const run = promisify(execFile)

/** The commands of docs/deployment.md, "Dumps", block by block. */
async function documented(): Promise<string[]> {
  const page = await readFile(new URL('docs/deployment.md', ROOT), 'utf8')
  const section = page.slice(page.indexOf('\n### Dumps\n'), page.indexOf('\n## Upgrades\n'))
  return [...section.matchAll(/```sh\n(.*?)```/gs)].map(([, block = '']) => block)
}

/** With the dump of a system's Postgres: the embedded one comes without. */
describe('a dump', () => {
  let postgres: ThrowAwayPostgres | undefined
  let directory: string
  let bin: string
  const url = (database: string) => {
    const its = new URL(postgres?.server.url ?? '')
    its.pathname = `/${database}`
    return its.href
  }

  before(async function () {
    const system = await systemPostgres()
    if (system === undefined) {
      process.stdout.write('NOT TESTED: there is no Postgres of the system with pg_dump\n')
      this.skip()
    }
    bin = system.bin
    directory = await mkdtemp(path.join(tmpdir(), 'starcite-dump-'))
    postgres = await throwAwayPostgres({}, system)
    const server = await connect(postgres.server)
    for (const database of ['original', 'restored', 'halved', 'broken', 'unfilled', 'begun'])
      await server.query(`create database ${database}`)
    await server.end()
    const node = await startNode({ url: url('original') })
    await call('POST', `${node.url}/v1/sessions`, { id: 's', title: 'kept' })
    for (const n of [1, 2, 3]) await call('POST', at(node.url, 's', '/append'), { type: 't', payload: { n } })
    await node.stop()
  })
  after(async () => {
    await postgres?.end()
    if (directory) await rm(directory, { recursive: true, force: true })
  })

  /** In a shell, where `starcite` is the command. */
  async function shell(commands: string): Promise<string> {
    const command = `starcite() { "$NODE" $PROGRAM "$@"; }\nset -e\n${commands}`
    const { stdout, stderr } = await run('bash', ['-c', command], {
      cwd: directory,
      env: {
        PATH: `${bin}:${process.env.PATH}`,
        NODE: process.execPath,
        PROGRAM: PROGRAM.join(' '),
        DATABASE_URL: url('original'),
        RESTORED_URL: url('restored'),
      },
    })
    return stdout + stderr
  }

  it('is made, restored and looked at by the commands of docs/deployment.md, and has everything', async () => {
    const [dump = '', restore = ''] = await documented()

    await shell(dump)
    const said = await shell(restore)

    expect(said).to.match(/^✓ schema +up to date/m)
    expect(said, 'nothing had to be put back').not.to.match(/installed anew|lacked/)
    const [original, restored] = await Promise.all(
      ['original', 'restored'].map((database) => connect({ url: url(database) })),
    )
    expect(await describeSchema(restored as pg.Client)).to.equal(await describeSchema(original as pg.Client))
    const installed = async (client: pg.Client | undefined) =>
      (
        await client?.query('select o.name, o.fingerprint from starcite.installed_objects o order by o.name')
      )?.rows.map(({ name, fingerprint }) => `${name} ${fingerprint}`)
    expect(await installed(restored)).to.deep.equal(await installed(original))
    await original?.end()
    await restored?.end()
    await serves('restored')
  })

  it('of the schema starcite alone gets back, by the next migration, what it is without', async () => {
    await shell('pg_dump --format=custom --schema=starcite --file=half.dump "$DATABASE_URL"')
    await run(path.join(bin, 'pg_restore'), [
      '--exit-on-error',
      '-d',
      url('halved'),
      path.join(directory, 'half.dump'),
    ])

    await migrate(url('halved'), '0.0.0-test', createLog('silent'))

    const client = new pg.Client({ connectionString: url('halved') })
    await client.connect()
    const { rows } = await client.query(`select v.ok, v.events::int from audit.verify('default', 's') v`)
    await client.end()
    expect(rows).to.deep.equal([{ ok: true, events: 3 }])
    await serves('halved')
  })

  it('that was restored without its constraints and indexes, or without its rows, is refused', async () => {
    await shell('pg_dump --format=custom --schema=starcite --schema=audit --file=whole.dump "$DATABASE_URL"')
    const restore = (database: string, sections: readonly string[]) =>
      run(path.join(bin, 'pg_restore'), [
        ...sections.map((title) => `--section=${title}`),
        '--exit-on-error',
        '-d',
        url(database),
        path.join(directory, 'whole.dump'),
      ])
    await restore('broken', ['pre-data', 'data'])
    await restore('unfilled', ['pre-data'])
    await restore('begun', ['pre-data'])
    const begun = await connect({ url: url('begun') })
    await begun.query('drop table starcite.installed_tables')
    await begun.end()

    const refusals = await Promise.all(
      ['broken', 'unfilled', 'begun'].map((database) =>
        migrate(url(database), '0.0.0-test', createLog('silent')).then(
          () => undefined,
          (error: Error) => error,
        ),
      ),
    )

    for (const refusal of refusals) {
      expect(refusal).to.be.instanceOf(DamagedSchemaError)
      expect(refusal?.message).to.include('restore the backup completely')
    }
    expect(refusals[0]?.message).to.include('starcite.archive_objects lacks constraint archive_objects_pkey')
    expect(refusals[0]?.message).to.match(/lacks .*; and \d+ more\./)
    expect(refusals[1]?.message).to.include('installed_tables is empty')
    expect(refusals[2]?.message).to.include('starcite.migrations has no row')
  })

  async function serves(database: string): Promise<void> {
    const node = await startNode({ url: url(database) })
    const appended = await call('POST', at(node.url, 's', '/append'), { type: 't', payload: { n: 4 } })
    const { events } = (await call('GET', at(node.url, 's', '/events'))).json
    await node.stop()
    expect(appended.json).to.include({ seq: 4 })
    expect(events.map((event: { payload: { n: number } }) => event.payload.n)).to.deep.equal([1, 2, 3, 4])
  }
})
