import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readdir, readFile, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import type pg from 'pg'
import { buildCommand, Command, starcite } from '../support/commandLine.ts'
import { freePort, startNode } from '../support/node.ts'
import { type FreshDatabase, freshDatabase } from '../support/postgres.ts'
import { makeScratch } from '../support/scratch.ts'
import { connect } from '../support/template.ts'
import { until } from '../support/until.ts'

describe('the database that a command uses', function () {
  this.timeout(120_000)
  let folder: string

  before(buildCommand)
  beforeEach(async () => {
    folder = await makeScratch('cli')
  })
  afterEach(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))

  const NEEDING = [
    ['audit', 'verify', '--all'],
    ['audit', 'export', '--all'],
    ['audit', 'checkpoints'],
    ['hold'],
    ['retention'],
    ['set-aside'],
    ['migrate'],
    ['tier'],
    ['psql', '--print-url'],
    ['doctor'],
  ]
  for (const args of NEEDING)
    it(`is never created: starcite ${args.join(' ')} without one says what to do`, async () => {
      const ended = await starcite(args, { cwd: folder })

      expect(ended.code, ended.err).to.be.oneOf([1, 4])
      expect(ended.out + ended.err).to.match(
        /DATABASE_URL is not set, and there is no embedded database in \S*postgres/,
      )
      expect(await readdir(folder)).to.deep.equal([])
    })

  it('is not looked for by a doctor of a running node alone', async () => {
    const database = await freshDatabase()
    const node = await startNode(database)
    try {
      const { code, out } = await starcite(['doctor', '--url', node.url, '--json'], { cwd: folder })

      const findings = out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
      expect(code, out).to.equal(0)
      expect(findings.find((finding) => finding.name === 'database')).to.include({ result: 'skipped' })
      expect(findings.find((finding) => finding.name === 'node')).to.include({ result: 'ok' })
      expect(await readdir(folder)).to.deep.equal([])
    } finally {
      await node.stop()
      await database.drop()
    }
  })

  describe('when it is embedded', () => {
    it('asks for a password that its user alone can read, keeps its port, and is named by commands', async () => {
      const first = new Command(['serve'], { cwd: folder, env: { PORT: String(await freePort()) } })
      await first.says(/is ready/)
      const data = path.join(folder, '.starcite', 'postgres')
      expect(await readFile(path.join(folder, '.starcite', '.gitignore'), 'utf8')).to.equal('*\n')
      const { mode } = await stat(path.join(data, 'starcite.password'))
      expect(mode & 0o777).to.equal(0o600)

      const printing = new Command(['psql', '--print-url'], { cwd: folder })
      const printed = await printing.ended
      expect(printing.err).to.equal(`Database: the embedded Postgres in ${data}\n`)
      const url = printed.out.trim()
      const refused = Object.assign(new URL(url), { password: '' }).href
      const connectTo = async (at: string) => {
        const client = await connect({ url: at } as FreshDatabase)
        await client.end()
      }
      await connectTo(url)
      expect(await connectTo(refused).catch((error: Error) => error.message)).to.match(/password/)

      first.child.kill('SIGTERM')
      await first.ended
      const again = await starcite(['psql', '--print-url'], { cwd: folder })
      expect(again.out).to.equal(printed.out)
      const rows = await starcite(['psql', '--', '-Atc', 'select count(*) from audit.sessions'], {
        cwd: folder,
      })
      expect([rows.out, rows.code], rows.err).to.deep.equal(['0\n', 0])
    })
  })

  it('is named, without its password, by what reads it; that there is nothing of a name is no empty answer', async () => {
    const database = await freshDatabase()
    const db = await connect(database)
    const env = { DATABASE_URL: database.url }
    try {
      await starcite(['migrate'], { env })
      await db.query(`select starcite.create_session('default', 'here')`)

      const export_ = new Command(['audit', 'export', '--session', 'here'], { env, input: '' })
      expect((await export_.ended).code, export_.err).to.equal(0)
      expect(export_.err).to.match(
        /^Database: postgres:\/\/…@127\.0\.0\.1:\d+\/\w+ \(DATABASE_URL\)\n0 events exported/,
      )
      const [session, tenant, load, verify] = await Promise.all([
        starcite(['audit', 'export', '--session', 'nope'], { env }),
        starcite(['audit', 'export', '--tenant', 'nope'], { env }),
        starcite(['audit', 'load', '--session', 'nope'], { env }),
        starcite(['audit', 'verify', 'nope'], { env }),
      ])
      expect(session.err).to.include('session_not_found: tenant "default" has no session "nope"')
      expect(tenant.err).to.include('tenant_not_found: tenant "nope" has no session')
      expect([session, tenant, load, verify].map((ended) => ended.code)).to.deep.equal([1, 1, 1, 1])
    } finally {
      await db.end()
      await database.drop()
    }
  })

  it('is examined without a fault where its roles are those of docs/security.md', async () => {
    const database = await freshDatabase()
    const db = await connect(database)
    const suffix = randomUUID().slice(0, 8)
    const logins = ['deploy', 'node', 'mover'].map((role) => `starcite_${role}_${suffix}`)
    const [deploy, node, mover] = logins as [string, string, string]
    const urlOf = (user: string) => Object.assign(new URL(database.url), { username: user }).href
    try {
      await makeRoles(db)
      await db.query(`create role ${deploy} login in role starcite_owner`)
      await db.query(`create role ${node} login in role starcite_app`)
      await db.query(`create role ${mover} login in role starcite_tiering`)
      await db.query(`grant create on database ${new URL(database.url).pathname.slice(1)} to ${deploy}`)
      const env = {
        DATABASE_URL: urlOf(node),
        STARCITE_MIGRATE_URL: urlOf(deploy),
        STARCITE_TIERING_URL: urlOf(mover),
      }
      expect((await starcite(['migrate'], { env })).code).to.equal(0)

      const { code, out } = await starcite(['doctor', '--json'], { env })

      const faults = out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
        .filter((check) => check.result !== 'ok')
        .map((check) => [check.name, check.message])
      expect(faults.filter(([name]) => name !== 'durability')).to.deep.equal([])
      expect(code).to.equal(0)
    } finally {
      await db.end()
      await database.drop()
      const admin = await connect(await freshDatabase())
      for (const login of logins) await admin.query(`drop role if exists ${login}`)
      await admin.end()
    }
  })
})

/** As a superuser does once for a server; other tests may have done it. */
async function makeRoles(db: pg.Client): Promise<void> {
  const roles = [
    'starcite_owner',
    'starcite_app',
    'starcite_auditor',
    'starcite_tiering in role starcite_owner',
  ]
  for (const role of roles)
    await db.query(`create role ${role.replace(' ', ' nologin ')}`).catch((error: { code?: string }) => {
      if (error.code !== '42710') throw error
    })
}

describe('npm start', function () {
  this.timeout(60_000)

  it('ends its node on SIGTERM', async () => {
    const database = await freshDatabase()
    const root = fileURLToPath(new URL('../../', import.meta.url))
    const { PATH = '', HOME = '' } = process.env
    const port = await freePort()
    const child = spawn('npm', ['start', '--ignore-scripts'], {
      cwd: root,
      env: { PATH, HOME, DATABASE_URL: database.url, PORT: String(port) },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let output = ''
    child.stdout.on('data', (chunk) => {
      output += chunk
    })
    try {
      await until('the node is ready', () => output.includes('"ready"'))
      const closed = once(child, 'close') // comes when nothing has the pipe any more: neither npm nor the node
      child.kill('SIGTERM')
      await closed
      expect(output).to.include('"draining"')
      expect(await fetch(`http://127.0.0.1:${port}/health/live`).catch(() => 'gone')).to.equal('gone')
    } finally {
      await database.drop()
    }
  })
})
