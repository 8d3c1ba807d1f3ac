import { existsSync, statSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { expect } from 'chai'
import { S3Store } from '../../src/objects/s3Store.ts'
import { copyOfBucket } from '../support/bucketCopy.ts'
import { newKey } from '../support/checkpoints.ts'
import { buildCommand, Command, hasTerminal, onTerminal, starcite } from '../support/commandLine.ts'
import { S3Server } from '../support/s3Server.ts'
import { makeScratch } from '../support/scratch.ts'
import { someEvents, TieringLab } from '../support/tiering.ts'
import { until } from '../support/until.ts'
import { use } from '../support/use.ts'

const EVENTS = 12_000

describe('starcite audit, the command', function () {
  this.timeout(120_000)
  const server = use(() => S3Server.start())
  const lab = use(() => TieringLab.open(new S3Store(server.settings)))
  let env: Record<string, string>
  let folder: string

  before(async () => {
    const built = buildCommand()
    const { bucket, endpoint, credentials, prefix } = server.settings
    env = {
      DATABASE_URL: lab.database.url,
      STARCITE_S3_BUCKET: bucket,
      STARCITE_S3_ENDPOINT: endpoint,
      STARCITE_S3_ACCESS_KEY_ID: credentials.accessKeyId,
      STARCITE_S3_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      STARCITE_S3_PREFIX: prefix,
      NODE_NO_WARNINGS: '1', // the SDK's, about old versions of Node
    }
    folder = await makeScratch('audit')
    for (const id of ['long', 'short']) await lab.session(id)
    await lab.append(someEvents([{ session: 'long' }], EVENTS - 10))
    await lab.append(someEvents([{ session: 'short' }], 20))
    await lab.move()
    await lab.append(someEvents([{ session: 'long' }], 10).map(({ producer: _, ...event }) => event))
    await built
  })
  after(async () => {
    await rm(folder, { recursive: true, force: true })
  })

  it('verifies what is stored, and a copy of the bucket, and says by its exit code what it found', async () => {
    const copy = await copyOfBucket(server.objects)
    const heads = path.join(folder, 'heads.ndjson')
    await writeFile(
      heads,
      `{"tenant_id":"default","session_id":"short","seq":20,"hash":"${'0'.repeat(64)}"}\n`,
    )
    const [all, one, offline, wrong, nobody] = await Promise.all([
      starcite(['audit', 'verify', '--all'], { env }),
      starcite(['audit', 'verify', 'short', '--json'], { env }),
      starcite(['audit', 'verify', '--from', copy.directory]),
      starcite(['audit', 'verify', '--from', copy.directory, '--heads', heads, '--json']),
      starcite(['audit', 'verify', '--tenant', 'nobody'], { env }),
    ])
    await copy.remove()

    expect(all).to.include({ code: 0, err: '' })
    expect(all.out).to.match(/^2 sessions, 12,020 events, in [\d.]+ s: nothing is wrong\.\n$/)
    expect(one.code).to.equal(0)
    expect(JSON.parse(one.out)).to.include({ sessions: 1, events: 20, redacted: 0, findings: 0 })
    expect(offline).to.include({ code: 0, err: '' })
    expect(offline.out).to.match(/^2 sessions, 12,010 events in \d object(s)?, in .* nothing is wrong\.\n$/)
    expect(wrong.code).to.equal(1)
    const [finding, sum] = wrong.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(finding).to.include({ tenant: 'default', session: 'short', seq: 20, reason: 'checkpoint' })
    expect(sum).to.include({ findings: 1, sessions: 2 })
    expect(nobody.code).to.equal(1)
    expect(nobody.err).to.include('--all')
  })

  it('goes on with an export that was killed, and has each event once', async () => {
    const [whole, cut] = ['whole', 'cut'].map((name) => path.join(folder, `${name}.ndjson`)) as [
      string,
      string,
    ]
    const first = await starcite(['audit', 'export', '--output', whole], { env })
    const { size } = statSync(whole)
    let length = size
    await until('an export is killed before its end', async () => {
      await rm(cut, { force: true })
      const killed = new Command(['audit', 'export', '--output', cut], { env, input: '' })
      await until('something is written', () => existsSync(cut) && statSync(cut).size > 0)
      killed.child.kill('SIGKILL')
      await killed.ended
      length = statSync(cut).size
      return length < size
    })
    const again = await starcite(['audit', 'export', '--output', cut, '--resume'], { env })

    expect(first).to.include({ code: 0, out: '' })
    expect(first.err).to.match(/^12,020 events exported, [\d.]+ MB, in [\d.]+ s\.\n$/)
    expect(length).to.be.within(1, size - 1)
    expect(again.code, again.err).to.equal(0)
    expect((await readFile(cut)).equals(await readFile(whole))).to.equal(true)
  })

  it('exports to standard output, loads and unloads', async () => {
    const csv = await starcite(
      ['audit', 'export', '--session', 'short', '--format', 'csv', '--type', 'state'],
      { env },
    )
    const loaded = await starcite(['audit', 'load', '--session', 'short', '--for', '2h'], { env })
    const { rows } = await lab.db.query(
      `select count(*)::int as n, max(e.expires_at) < now() + interval '3 hours' as is_soon from audit.events_loaded e`,
    )
    const unloaded = await starcite(['audit', 'unload', '--session', 'short'], { env })

    expect(csv.code).to.equal(0)
    expect(csv.out.split('\r\n').map((line) => line.split(',').slice(0, 3).join())).to.deep.equal([
      'tenant,session,seq',
      ...[1, 6, 11, 16].map((seq) => `default,short,${seq}`),
      '',
    ])
    expect(loaded).to.include({ code: 0, err: '' })
    expect(loaded.out).to.match(
      /^20 cold events are in audit\.events_loaded until 20\S+Z; 20 were read, in .* s\.\n$/,
    )
    expect(rows[0]).to.deep.equal({ n: 20, is_soon: true })
    expect(unloaded).to.deep.equal({ code: 0, out: '20 copies were deleted.\n', err: '' })
  })

  it('shows on a terminal how far it is, and nothing of that in files', async function () {
    if (!hasTerminal()) {
      console.log('      NOT TESTED: what a command shows on a terminal takes `script` of util-linux')
      this.skip()
    }
    const at = { env, cwd: folder }

    const [exported, errToFile, verified, loaded] = await Promise.all([
      onTerminal('audit export --session long > exported.ndjson', at),
      onTerminal('audit export --session short 2> errors', at),
      onTerminal('audit verify --all > verified', at),
      onTerminal('audit load --session long --for 1h > loaded', at),
    ])
    await starcite(['audit', 'unload', '--session', 'long'], { env })

    const progress = (verb: string) =>
      new RegExp(
        `^(?:Database: [^\\r\\n]*\\r?\\n)?(\\r(\\[[#.]{20}\\] +\\d+ % )?${verb} [\\d,]+ events, [\\d.]+ [kM]B, [\\d,]+/s(, \\d+ s left)?␛\\[K)+\\r␛\\[K`,
      )
    expect(exported)
      .to.match(progress('exported'))
      .and.match(/events exported, [\d.]+ MB, in [\d.]+ s\.\r\n$/)
    expect(verified).to.match(progress('verified')).and.match(/␛\[K$/)
    expect(loaded).to.match(progress('loaded')).and.match(/␛\[K$/)
    for (const [file, end] of [
      ['exported.ndjson', /^\{"seq":1,[^␛]*\}\n$/],
      ['verified', /^2 sessions, 12,020 events, [^\r␛]*\n$/],
      ['loaded', /^11,990 cold events are in [^\r␛]*\n$/],
      ['errors', /^Database: .*\n20 events exported, [^\r␛]*\n$/],
    ] as const) {
      const text = await readFile(path.join(folder, file), 'utf8')
      expect(text.replaceAll('\x1b', '␛'), file).to.match(end)
    }
    expect(errToFile.split('\r\n')).to.have.lengthOf(21)
    expect(errToFile).not.to.include('␛')
  })

  it('says what to do where the schema is not there', async () => {
    const key = { STARCITE_CHECKPOINT_KEY: newKey().privatePem }
    const nowhere = { env: { ...env, ...key, DATABASE_URL: withoutSchema() } }
    const output = path.join(folder, 'nothing.csv')
    for (const args of [
      ['verify'],
      ['checkpoints', 'take'],
      ['export', '--format', 'csv', '--output', output],
    ]) {
      const { code, err } = await starcite(['audit', ...args], nowhere)
      expect(code, `${args}`).to.equal(4)
      expect(err).to.include('starcite migrate').and.not.include('--resume')
    }
    expect(existsSync(output)).to.equal(false)
  })

  /** Of the same server: its own database, which has no schema of ours. */
  function withoutSchema(): string {
    return Object.assign(new URL(lab.database.url), { pathname: '/postgres' }).href
  }
})
