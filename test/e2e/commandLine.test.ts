import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import path from 'node:path'
import { expect } from 'chai'
import { decodeJwt } from 'jose'
import { Starcite } from '../../src/client/starcite.ts'
import type { Service } from '../../src/service.ts'
import { buildCommand, Command, hasTerminal, onTerminal, starcite } from '../support/commandLine.ts'
import { freePort, startNode } from '../support/node.ts'
import { type FreshDatabase, freshDatabase } from '../support/postgres.ts'
import { makeScratch } from '../support/scratch.ts'
import { connect, migratedDatabase } from '../support/template.ts'

const SECRET = 'hunter2-k9z'

describe('starcite, the command', function () {
  this.timeout(120_000)
  let database: FreshDatabase
  let node: Service
  let env: Record<string, string>
  let folder: string

  before(async () => {
    await buildCommand()
    database = await migratedDatabase()
    node = await startNode(database)
    env = { STARCITE_URL: node.url }
    folder = await makeScratch('cli')
  })
  after(async () => {
    await node.stop()
    await database.drop()
    await rm(folder, { recursive: true, force: true })
  })

  it('creates, appends, lists and tails', async () => {
    const created = await starcite(
      ['create', 'one', '--title', 'A \x1b[31mtitle', '--metadata', '{"team":"cli"}'],
      { env },
    )
    expect(created).to.deep.equal({ code: 0, out: 'one\n', err: '' })

    const appended = await starcite(
      ['append', 'one', '--type', 'content', '--text', 'he\x1bllo', '--actor', 'agent:a'],
      { env },
    )
    expect(appended).to.include({ code: 0, err: '' })
    expect(JSON.parse(appended.out)).to.include({ seq: 1, last_seq: 1, deduped: false })
    const exact = '{"type":"tool","payload":{"id":9007199254740993},"actor":"agent:b"}'
    expect((await starcite(['append', 'one', exact], { env })).code).to.equal(0)

    const [list, json, plain, coloured, filtered] = await Promise.all([
      starcite(['sessions', '--metadata', 'team=cli'], { env }),
      starcite(['tail', 'one', '--no-follow', '--json'], { env }),
      starcite(['tail', 'one', '--no-follow'], { env }),
      starcite(['tail', 'one', '--no-follow', '--cursor', '1'], { env: { ...env, FORCE_COLOR: '1' } }),
      starcite(['tail', 'one', '--no-follow', '--actor', 'agent:a'], {
        env: { ...env, FORCE_COLOR: '1', NO_COLOR: '1' },
      }),
    ])

    expect(list.out).to.match(/^ID {3}EVENTS {2}CREATED.*\none {2}2 .*A \\u001b\[31mtitle\n$/)
    expect(json.out.split('\n')[1]).to.include('"payload":{"id":9007199254740993}')
    expect(plain.out).to.match(
      /^ {3}1 {2}[\d:]{8} {2}agent:a {2}content {2}he\\u001bllo\n {3}2 .*agent:b {2}tool {2}\{"id":/,
    )
    expect(coloured.out).to.match(/\[3\dmagent:b.\[39m/)
    expect(coloured.out).not.to.include('agent:a')
    expect(filtered.out)
      .to.match(/^ {3}1 .*agent:a/)
      .and.not.include('\x1b')
      .and.not.include('agent:b')
  })

  it('follows what is appended, and ends when its reader does', async () => {
    await starcite(['create', 'live'], { env })
    const tail = new Command(['tail', 'live', '--json'], { env, input: '' })
    const client = new Starcite({ url: node.url })
    await client.session('live').append({ type: 'content', payload: { n: 1 } })
    await tail.says(/"n":1/)
    await client.session('live').append({ type: 'content', payload: { n: 2 } })
    await tail.says(/"n":2/)

    tail.child.stdout.destroy()
    await client.session('live').append({ type: 'content', payload: { n: 3 } })

    expect((await tail.ended).code).to.equal(0)
  })

  it('appends each line of its input once, in order, and copies a session', async () => {
    const lines = Array.from(
      { length: 250 },
      (_, i) => `{"type":"content","payload":{"n":${i + 1},"big":9007199254740993}}`,
    )
    await Promise.all(['from', 'to'].map((id) => starcite(['create', id], { env })))

    const first = await starcite(['append', 'from', '--batch', '100'], {
      env,
      input: `${lines.join('\n\n')}\n`,
    })
    const exported = await starcite(['tail', 'from', '--no-follow', '--json'], { env })
    const copied = await starcite(['append', 'to'], { env, input: exported.out })
    const again = await starcite(['append', 'to'], { env, input: exported.out })

    expect(first).to.deep.equal({ code: 0, out: '250 events appended: seq 1 to 250.\n', err: '' })
    expect(copied.out).to.equal('250 events appended: seq 1 to 250.\n')
    expect(again.out).to.equal('250 events appended: seq 1 to 250.\n')
    const copy = await starcite(['tail', 'to', '--no-follow', '--json'], { env })
    const payloads = (text: string) => text.match(/"payload":\{[^}]*\}/g)
    expect(payloads(copy.out)).to.deep.equal(payloads(exported.out))
    expect(payloads(copy.out)).to.have.length(250)
  })

  it('says which line was refused, and what is stored', async () => {
    await starcite(['create', 'lines'], { env })
    const good = '{"type":"content","payload":{}}'

    const refused = await starcite(['append', 'lines', '--batch', '2'], {
      env,
      input: [good, good, good, '{"type":"","payload":{}}', good].join('\n'),
    })
    const broken = await starcite(['append', 'lines'], { env, input: `${good}\n{"type":\n` })

    expect(refused.code).to.equal(1)
    expect(refused.err).to.match(/invalid_event: line 4: .*type.*\(lines up to 2 are stored\)/)
    expect(broken.code).to.equal(1)
    expect(broken.err).to.match(/line 2: the event is not valid JSON/)
  })

  it('helps: what went wrong, what was meant, what to do', async () => {
    const [misspelt, option, nowhere, missing, json, help] = await Promise.all([
      starcite(['tial', 'x']),
      starcite(['append', 'x', '--typ', 'content']),
      starcite(['tail', 'x'], { env: { STARCITE_URL: `http://127.0.0.1:${await freePort()}` } }),
      starcite(['tail', 'no such session'], { env }),
      starcite(['create', '--metadata', '{team:cli}'], { env }),
      starcite(['--help']),
    ])

    expect(misspelt).to.include({ code: 2, out: '' })
    expect(misspelt.err).to.include("unknown command 'tial'").and.include('Did you mean tail?')
    expect(option).to.include({ code: 2 })
    expect(option.err).to.include('Did you mean --type?')
    expect(nowhere.code).to.equal(1)
    expect(nowhere.err)
      .to.include('node_unreachable')
      .and.include('no node answers at http://127.0.0.1:')
      .and.include('ECONNREFUSED')
      .and.include('starcite serve')
    expect(missing.code).to.equal(1)
    expect(missing.err).to.include('session_not_found').and.include('starcite sessions')
    expect(json.code).to.equal(2)
    expect(json.err).to.include('--metadata must be a JSON object')
    expect(help.code).to.equal(0)
    for (const verb of [
      'serve',
      'migrate',
      'tier',
      'create',
      'append',
      'tail',
      'sessions',
      'audit',
      'hold',
      'retention',
      'token',
      'doctor',
    ])
      expect(help.out).to.match(new RegExp(`^ {2}${verb} `, 'm'))
  })

  it('shows a configuration without its secrets, or all that is wrong with it', async () => {
    const good = {
      DATABASE_URL: `postgres://me:${SECRET}@db.example:5432/app?password=${SECRET}`,
      STARCITE_S3_BUCKET: 'b',
      STARCITE_S3_ENDPOINT: `https://me:${SECRET}@s3.example/?key=${SECRET}`,
      STARCITE_S3_ACCESS_KEY_ID: SECRET,
      STARCITE_S3_SECRET_ACCESS_KEY: SECRET,
      STARCITE_HOT_RETENTON: '3h',
    }

    const [shown, json, wrong] = await Promise.all([
      starcite(['check-config'], { env: good }),
      starcite(['check-config', '--json'], { env: good }),
      starcite(['check-config'], {
        env: { PORT: 'abc', DB_POOL_SIZE: '0', DATABASE_URL: `mysql://${SECRET}@x` },
      }),
    ])

    expect(shown.code).to.equal(0)
    expect(shown.out)
      .to.include('database.url = postgres://…@db.example:5432/app?…\n')
      .and.include('port = 4000\n')
    expect(shown.err).to.equal(
      'unknown setting STARCITE_HOT_RETENTON; did you mean STARCITE_HOT_RETENTION?\n',
    )
    expect(JSON.parse(json.out).archive.s3).to.include({ bucket: 'b', endpoint: 'https://…@s3.example/?…' })
    expect(wrong).to.include({ code: 2, out: '' })
    expect(wrong.err)
      .to.match(/- PORT must be/)
      .and.match(/- DB_POOL_SIZE must be/)
      .and.match(/- DATABASE_URL must be/)
    for (const { out, err } of [shown, json, wrong]) expect(out + err).not.to.include(SECRET)
  })

  it('makes tokens that a node of `serve --dev-auth` accepts: two commands', async () => {
    const fresh = await freshDatabase()
    const port = String(await freePort())
    const url = `http://127.0.0.1:${port}`
    const serve = new Command(['serve', '--dev-auth'], {
      cwd: folder,
      env: { DATABASE_URL: fresh.url, PORT: port, STARCITE_DRAIN_SPREAD: '0s' },
    })
    await serve.says(/"msg":"ready"/)

    const token = await starcite(['token', '--sub', 'agent:cli', '--ttl', '5m'], { cwd: folder })
    const signed = { STARCITE_URL: url, STARCITE_TOKEN: token.out.trim() }
    const [stranger, refused] = await Promise.all([
      starcite(['create'], { env: { STARCITE_URL: url } }),
      starcite(['serve', '--dev-auth'], { cwd: folder, env: { STARCITE_AUTH_MODE: 'none' } }),
    ])
    expect(await starcite(['create', 'mine'], { env: signed })).to.include({ code: 0, out: 'mine\n' })
    await starcite(['append', 'mine', '--type', 'x'], { env: signed })
    const tail = await starcite(['tail', 'mine', '--no-follow'], { env: signed })
    const { code } = await serve.stop()
    await fresh.drop()

    expect(decodeJwt(signed.STARCITE_TOKEN)).to.include({ sub: 'agent:cli', tenant_id: 'default' })
    expect((await stat(path.join(folder, '.starcite/dev-key.json'))).mode & 0o777).to.equal(0o600)
    expect(stranger.code).to.equal(1)
    expect(stranger.err).to.include('unauthorized').and.include('STARCITE_TOKEN')
    expect(refused.code).to.equal(2)
    expect(tail.out).to.match(/agent:cli {2}x {2}\{\}\n$/)
    expect(code).to.equal(0)
  })

  it('publishes the development key for a node that runs apart', async () => {
    const publisher = new Command(['token', '--serve-jwks', '--port', '0'], { cwd: folder })
    await publisher.says(/Ctrl-C/)
    const url = /STARCITE_AUTH_JWKS_URL=(\S+)/.exec(publisher.out)?.[1] ?? ''

    const published = (await (await fetch(url)).json()) as { keys: object[] }
    const printed = await starcite(['token', '--jwks'], { cwd: folder })
    await publisher.stop()

    expect(published).to.deep.equal(JSON.parse(printed.out))
    expect(published.keys[0]).to.include({ kty: 'OKP', use: 'sig' }).and.not.have.property('d')
  })

  it('migrates a database, and examines what a node needs', async () => {
    const fresh = await freshDatabase()
    const url = { DATABASE_URL: fresh.url }

    const before = await starcite(['doctor', '--json'], { env: url })
    const migrated = await starcite(['migrate'], { env: { ...url, STARCITE_LOG_LEVEL: 'error' } })
    const after = await starcite(['doctor', '--url', node.url], { env: url })
    await fresh.drop()

    const findings = before.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    const resultOf = (name: string) => findings.find((finding) => finding.name === name)?.result
    expect(before.code).to.equal(0)
    expect(resultOf('postgres')).to.equal('ok')
    expect(resultOf('schema')).to.equal('warning')
    expect(migrated).to.include({ code: 0, err: '' })
    expect(migrated.out).to.match(/^The schema is that of Starcite \d/)
    expect(after.code, after.out).to.equal(0)
    for (const name of [
      'postgres',
      'clock',
      'pooler',
      'listen',
      'search_path',
      'schema',
      'tiering',
      'store',
      'store delete',
      'node',
      'access',
    ])
      expect(after.out).to.match(new RegExp(`^✓ ${name} `, 'm'))
  })

  it('tells what is wrong where Postgres, the store, or the node is away', async () => {
    const silent = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1')
    const away = `127.0.0.1:${await freePort()}`

    const [postgres, store, closed] = await Promise.all([
      starcite(['doctor'], { env: { DATABASE_URL: `postgres://u:${SECRET}@${away}/d` } }),
      starcite(['doctor', '--url', `http://${away}`], {
        env: {
          DATABASE_URL: database.url,
          STARCITE_S3_BUCKET: 'b',
          STARCITE_S3_ENDPOINT: `http://${away}`,
          STARCITE_S3_ACCESS_KEY_ID: 'k',
          STARCITE_S3_SECRET_ACCESS_KEY: SECRET,
        },
      }),
      starcite(['migrate'], {
        env: {
          DATABASE_URL: `postgres://u:${SECRET}@${away}/d`,
          STARCITE_STARTUP_WAIT: '100ms',
          STARCITE_LOG_LEVEL: 'silent',
        },
      }),
    ])
    silent.close()

    expect(postgres.code).to.equal(1)
    expect(postgres.out)
      .to.match(/^✗ postgres .*ECONNREFUSED/m)
      .and.include('DATABASE_URL')
    expect(store.code).to.equal(1)
    expect(store.out)
      .to.match(/^✓ schema /m)
      .and.match(/^✗ store /m)
      .and.match(/^✗ node .*ECONNREFUSED/m)
    expect(closed.code).to.equal(4)
    for (const { out, err } of [postgres, store, closed]) expect(out + err).not.to.include(SECRET)
  })

  it('signs checkpoints, lists and verifies them, and proves an event with a public key and without a database', async () => {
    const own = await migratedDatabase()
    const audit = (args: string[], settings: Record<string, string> = {}) =>
      starcite(['audit', ...args], { cwd: folder, env: { DATABASE_URL: own.url, ...settings } })
    const db = await connect(own)
    await db.query(`select starcite.create_session('default', 'proven')`)
    for (const n of [1, 2]) await db.query(`select starcite.append('proven', 'said', $1)`, [`{"n":${n}}`])
    await db.end()

    const keygen = await audit(['keygen'])
    expect(keygen, keygen.err).to.include({ code: 0, out: '' })
    expect((await stat(path.join(folder, '.starcite', 'checkpoint-key.pem'))).mode & 0o777).to.equal(0o600)
    expect(await readFile(path.join(folder, '.starcite', '.gitignore'), 'utf8')).to.equal('*\n')
    const again = await audit(['keygen'])
    expect(again.code).to.equal(2)
    expect(again.err, 'nothing is overwritten').to.include('checkpoint-key.pem exists already')
    const key = { STARCITE_CHECKPOINT_KEY_FILE: path.join(folder, '.starcite', 'checkpoint-key.pem') }
    const [none, keyless, wrongKey] = await Promise.all([
      audit(['prove', 'proven', '1']),
      audit(['checkpoints', 'take']),
      audit(['checkpoints', 'take'], {
        STARCITE_CHECKPOINT_KEY_FILE: path.join(folder, 'checkpoint-public.pem'),
      }),
    ])
    expect(none)
      .to.include({ code: 1, out: '' })
      .and.have.property('err')
      .that.matches(/no checkpoint covers event 1/)
    expect(keyless.code).to.equal(2)
    expect(wrongKey)
      .to.include({ code: 2 })
      .and.have.property('err')
      .that.matches(/not an Ed25519 private key/)

    const taken = await audit(['checkpoints', 'take'], key)
    expect(taken.out, taken.err).to.match(/^Checkpoint 1, of .*: 1 sessions had moved/)
    const proved = await audit(['prove', 'proven', '1', '--output', 'proof.json'])
    expect(proved, proved.err).to.include({ code: 0, out: '' })

    const offline = { DATABASE_URL: '' }
    const trusted = ['--public-key', 'checkpoint-public.pem']
    const [checked, list, verified, unsigned, anchored] = await Promise.all([
      audit(['check-proof', 'proof.json', ...trusted], offline),
      audit(['checkpoints', '--json']),
      audit(['checkpoints', 'verify', ...trusted]),
      audit(['checkpoints', 'verify', '--json']),
      audit(['checkpoints', 'verify', ...trusted, '--anchor', 'f'.repeat(64)]),
    ])
    expect(checked.out, checked.err)
      .to.match(/^Good: event 1 of session proven/)
      .and.include('"payload":{"n":1}')
    expect(JSON.parse(list.out)).to.include({ number: 1, leaves: 1 })
    expect(verified, verified.err).to.include({ code: 0 })
    expect(verified.out)
      .to.match(/1 checkpoints, 1 leaves: nothing is wrong/)
      .and.include(JSON.parse(list.out).sha256)
    expect(JSON.parse(unsigned.out)).to.include({ signatures: false, findings: 0, checkpoints: 1 })
    expect(anchored)
      .to.include({ code: 1 })
      .and.have.property('out')
      .that.matches(/missing: no checkpoint has the digest f/)

    const file = path.join(folder, 'proof.json')
    await writeFile(file, (await readFile(file, 'utf8')).replace('"seq": 1', '"seq": 2'))
    const refused = await audit(['check-proof', 'proof.json', ...trusted], offline)
    expect(refused)
      .to.include({ code: 1 })
      .and.have.property('out')
      .that.matches(/^The proof does not hold: /)

    // The log is cut, as a restore of an older backup does.
    const restored = await connect(own)
    await restored.query(`delete from starcite.events e where e.seq = 2`)
    await restored.query(
      `update starcite.session_heads h set last_seq = 1, chain_hash = e.hash from starcite.events e where e.sid = h.sid`,
    )
    await restored.end()
    const loud = await audit(['checkpoints', 'take'], key)
    expect(loud.err + loud.out).to.include('log contradicts a checkpoint')
    const [contradictions, reasonless] = await Promise.all([
      audit(['checkpoints', 'contradictions', '--json']),
      audit(['checkpoints', 'acknowledge', '--reason', 'which?']),
    ])
    expect(JSON.parse(contradictions.out)).to.include({
      session: 'proven',
      reason: 'went_back',
      signed_seq: 2,
    })
    expect(reasonless.code).to.equal(2)
    const acknowledged = await audit(['checkpoints', 'acknowledge', '--all', '--reason', 'restored \x1b4711'])
    expect(acknowledged, acknowledged.err).to.include({ code: 0 })
    expect((await audit(['checkpoints', 'acknowledge', '--all', '--reason', 'again'])).code).to.equal(1)
    await audit(['checkpoints', 'take'], key)
    await audit(['prove', 'proven', '1', '--output', 'after.json'])
    const [known, shown] = await Promise.all([
      audit(['checkpoints', 'verify', ...trusted]),
      audit(['check-proof', 'after.json', ...trusted], offline),
    ])
    expect(known, known.err).to.include({ code: 0 })
    expect(known.out).to.match(
      /checkpoint 3 default proven: acknowledged: checkpoint 1 signed event 2: restored .*4711/,
    )
    expect(shown.out).to.match(/does NOT continue what checkpoint 1 signed, event 2/)
    await own.drop()
  })

  it('holds and releases sessions, and sets what is erased by age; as the owner only', async () => {
    const own = await migratedDatabase()
    const db = await connect(own)
    const role = `cli_${path.basename(folder).replaceAll('-', '_')}`
    await db.query(`create role "${role}" login in role starcite_app`)
    for (const id of ['case', 'idle']) await db.query(`select starcite.create_session('acme', $1)`, [id])
    await db.query(`update starcite.sessions set updated_at = now() - interval '3 years'`)
    const run = (...args: string[]) => starcite(args, { env: { DATABASE_URL: own.url } })
    const asNode = Object.assign(new URL(own.url), { username: role }).href

    const [held, unknown, set, hot, nobody] = await Promise.all([
      run('hold', 'add', 'case', '--tenant', 'acme', '--reason', 'case \x1b7', '--by', 'counsel'),
      run('hold', 'add', 'case', '--reason', 'of no tenant of that name'),
      run('retention', 'set', '--tenant', 'acme', '--session-after', '2y'),
      run('retention', 'set', '--default', '--content-after', '1h'),
      run('retention', 'set', '--content-after', '90d'),
    ])
    expect(held).to.deep.equal({
      code: 0,
      out: 'session case of tenant acme is under a legal hold.\n',
      err: '',
    })
    expect(unknown.code).to.equal(1)
    expect(unknown.err).to.include('session_not_found')
    expect(set).to.include({ code: 0, err: '' })
    expect(hot.code).to.equal(1)
    expect(hot.err).to.include('events stay hot for')
    expect(nobody.code).to.equal(2)
    expect(nobody.err).to.include('--default')

    await db.query(
      `insert into starcite.retention_requests (tenant_id, sid, requested_seconds)
       select s.tenant_id, s.sid, 0 from starcite.sessions s where s.id = 'idle'`,
    )
    await db.query(`update starcite.retention_clock set observed_seconds = 7200, ahead = '3 days'`)
    const [requests, distrusted] = await Promise.all([
      run('retention', 'requests', '--json'),
      run('retention', 'requests'),
    ])
    expect(JSON.parse(requests.out)).to.include({ tenant: 'acme', session: 'idle', watched_seconds: 7200 })
    expect(distrusted.out).to.match(/clock was found to run 3 days ahead[\s\S]*\nacme +idle +.* 2\.0 h\n$/)
    expect((await run('retention', 'trust-clock')).code).to.equal(0)
    expect((await run('retention', 'requests')).out).not.to.include('ahead')

    const [holds, rules, due, refused, granted] = await Promise.all([
      run('hold'),
      run('retention', '--json'),
      run('retention', 'due', '--json'),
      starcite(['hold', 'release', 'case', '--tenant', 'acme'], { env: { DATABASE_URL: asNode } }),
      starcite(['hold', '--json'], { env: { DATABASE_URL: asNode, STARCITE_TIERING_URL: own.url } }),
    ])
    expect(holds.out).to.match(/^TENANT .*\nacme {4}case .* counsel {2}case \\u001b7\n$/)
    expect(JSON.parse(rules.out)).to.deep.equal({
      tenant: 'acme',
      content_after: null,
      session_after: '2 years',
    })
    expect(JSON.parse(due.out)).to.include({ kind: 'session', tenant: 'acme', session: 'idle', events: 0 })
    expect(refused.code).to.equal(4)
    expect(refused.err).to.include('STARCITE_TIERING_URL')
    expect(JSON.parse(granted.out)).to.include({ session: 'case', subject: 'counsel', reason: 'case \x1b7' })

    const [released, removed] = await Promise.all([
      run('hold', 'release', 'case', '--tenant', 'acme', '--by', 'judge'),
      run('retention', 'remove', '--tenant', 'acme'),
    ])
    const again = await Promise.all([
      run('hold', 'release', 'case', '--tenant', 'acme'),
      run('retention', 'remove', '--tenant', 'acme'),
    ])
    expect([released.code, removed.code], released.err + removed.err).to.deep.equal([0, 0])
    expect(again.map((ended) => ended.code)).to.deep.equal([1, 1])
    const { rows } = await db.query(
      'select c.kind, c.subject from starcite.legal_hold_changes c order by c.kind',
    )
    expect(rows).to.deep.equal([
      { kind: 'held', subject: 'counsel' },
      { kind: 'released', subject: 'judge' },
    ])
    await db.query(`drop role "${role}"`)
    await db.end()
    await own.drop()
  })

  it('shows on a terminal how far it is, and nothing of that in files', async function () {
    if (!hasTerminal()) {
      console.log('      NOT TESTED: what a command shows on a terminal takes `script` of util-linux')
      this.skip()
    }
    await starcite(['create', 'progress'], { env })
    await starcite(['create', 'quiet'], { env })
    const lines = path.join(folder, 'lines.ndjson')
    await writeFile(lines, '{"type":"content","payload":{}}\n'.repeat(1000))
    const at = { env, cwd: folder }

    const [toFile, errToFile] = await Promise.all([
      onTerminal('append progress --batch 10 < lines.ndjson > appended', at),
      onTerminal('append quiet --batch 10 < lines.ndjson 2> errors', at),
    ])

    expect(toFile).to.match(/^(\r[\d,]+ events, [\d,]+ a second␛\[K)+\r␛\[K$/)
    expect(await readFile(path.join(folder, 'appended'), 'utf8')).to.equal(
      '1,000 events appended: seq 1 to 1000.\n',
    )
    expect(errToFile).to.equal('1,000 events appended: seq 1 to 1000.\r\n')
    expect(await readFile(path.join(folder, 'errors'), 'utf8')).to.equal('')
  })

  it('completes in the shells that are here', async () => {
    const scripts = await Promise.all(['bash', 'zsh', 'fish'].map((shell) => starcite(['completion', shell])))

    for (const { code, out } of scripts) {
      expect(code).to.equal(0)
      expect(out)
        .to.include('check-config')
        .and.match(/expected-seq/)
    }
    if (!existsSync('/bin/bash')) return
    const complete = `${scripts[0]?.out}
      COMP_WORDS=(starcite "\${@:1:$#-1}"); COMP_CWORD=\${!#}; _starcite; printf '%s ' "\${COMPREPLY[@]}"`
    const run = (...words: string[]) =>
      execFileSync('/bin/bash', ['-c', complete, 'bash', ...words], { encoding: 'utf8' })
    expect(run('ta', '', '1')).to.equal('tail ')
    expect(run('append', '--t', '2')).to.equal('--token --type --text ')
    expect(run('audit', 'ver', '2')).to.equal('verify ')
    expect(run('audit', 'export', '--fo', '3')).to.equal('--format ')
  })
})
