import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect } from 'chai'
import { takeLock } from '../../src/db/jobLock.ts'
import { DbSession } from '../../src/db/session.ts'
import { createLog } from '../../src/ops/log.ts'
import { TIERING } from '../../src/tiering/tieringJob.ts'
import { programOf } from '../support/programs.ts'
import { someEvents, TieringLab } from '../support/tiering.ts'
import { use } from '../support/use.ts'

const COMMAND = programOf('src/cli/tier.ts')

async function run(args: readonly string[], env: Readonly<Record<string, string>>) {
  const { PATH = '', HOME = '' } = process.env
  const child = spawn(process.execPath, [...COMMAND, ...args], {
    env: { PATH, HOME, ...env },
  })
  let [out, err] = ['', '']
  child.stdout.on('data', (chunk) => {
    out += chunk
  })
  child.stderr.on('data', (chunk) => {
    err += chunk
  })
  const [code] = await once(child, 'close')
  return { code, out, err: err.replace(/^Database: .*\n/, '') }
}

describe('starcite tier', () => {
  const lab = use(() => TieringLab.open())
  let env: Record<string, string>

  before(async () => {
    env = { DATABASE_URL: lab.database.url }
  })

  it('moves what is due by the retention of the nodes, says what it did, and then that nothing is due', async () => {
    const sid = await lab.session('one')
    await lab.append(someEvents([{ session: 'one' }], 1200))
    const hot = await lab.shown(sid)

    const first = await run([], { ...env, STARCITE_HOT_RETENTION: '30d' })
    const second = await run([], env)

    expect(first).to.include({ code: 0, err: '' })
    expect(first.out).to.match(/^events_\d{8}t\d{6}: 1,200 events in 1 object, [\d,]+ bytes\n$/)
    expect(second).to.deep.equal({ code: 0, out: 'No segment is due.\n', err: '' })
    expect(await lab.shown(sid)).to.deep.equal(hot)
    expect(await lab.count('events')).to.equal(0)
  })

  it('fails while another node is at it', async () => {
    const other = await DbSession.open(lab.database.url, 'other', 5000, createLog('silent'))
    await takeLock(other, TIERING)

    const { code, out } = await run([], env)

    await other.stop()
    expect({ code, out }).to.deep.equal({ code: 1, out: 'Another node is moving segments now.\n' })
  })

  it('explains itself, and refuses what it does not know', async () => {
    const help = await run(['--help'], {})
    expect(help).to.include({ code: 0, err: '' })
    expect(help.out).to.include('Usage: starcite tier ')

    const unknown = await run(['--fast'], env)
    expect(unknown).to.include({ code: 2, out: '' })
    expect(unknown.err).to.include("unknown option '--fast'")

    const misconfigured = await run([], { ...env, STARCITE_ARCHIVE_ADAPTER: 's3' })
    expect(misconfigured).to.include({ code: 2, out: '' })
    expect(misconfigured.err).to.include('STARCITE_S3_BUCKET')
  })

  it('says what went wrong when the store is away, and loses nothing', async () => {
    const sid = await lab.session('two')
    await lab.append(someEvents([{ session: 'two' }], 10))
    const hot = await lab.shown(sid)

    const { code, err } = await run([], {
      ...env,
      STARCITE_S3_BUCKET: 'b',
      STARCITE_S3_ENDPOINT: 'http://127.0.0.1:9',
      STARCITE_S3_ACCESS_KEY_ID: 'k',
      STARCITE_S3_SECRET_ACCESS_KEY: 's',
    })

    expect(code).to.equal(1)
    expect(err).to.match(/^starcite: put v1\/default\/events_/m)
    expect(await lab.shown(sid)).to.deep.equal(hot)
  })
})
