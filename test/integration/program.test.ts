import { once } from 'node:events'
import { createServer, connect as dial, type Server, type Socket } from 'node:net'
import { expect } from 'chai'
import { freePort, runProgram, type Settings } from '../support/node.ts'
import { type FreshDatabase, freshDatabase } from '../support/postgres.ts'
import { connect, migratedDatabase } from '../support/template.ts'
import { until } from '../support/until.ts'

const SECRET = 'hunter2-k9z'

describe('the program', () => {
  const servers: Server[] = []
  const databases: FreshDatabase[] = []
  const started: ReturnType<typeof runProgram>[] = []

  afterEach(async () => {
    for (const { child } of started.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const exit = once(child, 'exit')
      child.kill('SIGKILL')
      await exit
    }
    for (const server of servers.splice(0)) server.close()
    for (const database of databases.splice(0)) await database.drop()
  })

  function run(settings: Settings): ReturnType<typeof runProgram> {
    const program = runProgram({ STARCITE_LOG_LEVEL: 'info', ...settings })
    started.push(program)
    return program
  }

  /** How it ended, and what it said to the operator: the lines that are not logs. */
  async function ending(settings: Settings): Promise<{ code: number | null; said: string; output: string }> {
    const { child, output } = run(settings)
    const [code] = await once(child, 'close')
    const said = output()
      .split('\n')
      .filter((line) => !line.startsWith('{'))
      .join('\n')
    expect(output()).not.to.include(SECRET)
    return { code, said, output: output() }
  }

  async function database(make: () => Promise<FreshDatabase> = freshDatabase): Promise<FreshDatabase> {
    const made = await make()
    databases.push(made)
    return made
  }

  async function listen(onSocket: (socket: Socket) => void, port = 0): Promise<number> {
    const server = createServer(onSocket).listen(port, '127.0.0.1')
    servers.push(server)
    await once(server, 'listening')
    return (server.address() as { port: number }).port
  }

  /** The same database for another user, with a password. */
  function as(user: string, { url }: { url: string }): string {
    const other = new URL(url)
    other.username = user
    other.password = SECRET
    return other.href
  }

  it('ends with 2 over a configuration with problems, all of them named, no secret told', async () => {
    const { code, said } = await ending({
      PORT: 'abc',
      DB_POOL_SIZE: '0',
      DATABASE_URL: `mysql://root:${SECRET}@db/x`,
      STARCITE_LISTEN_URL: SECRET,
      STARCITE_AUTH_MODE: 'maybe',
    })

    expect(code).to.equal(2)
    for (const name of ['PORT', 'DB_POOL_SIZE', 'DATABASE_URL', 'STARCITE_LISTEN_URL', 'STARCITE_AUTH_MODE'])
      expect(said).to.match(new RegExp(`^  - ${name} must be `, 'm'))
    expect(said).to.match(/^starcite: the configuration has 5 problem\(s\):$/m)
  })

  it('ends with 3 when its port is taken, and names it', async () => {
    const port = await listen((socket) => socket.destroy())

    const { code, said } = await ending({ DATABASE_URL: (await database()).url, PORT: String(port) })

    expect(code, said).to.equal(3)
    expect(said).to.match(new RegExp(`^starcite: port ${port} is taken by another process; .*PORT`))
  })

  it('ends with 3 when the port of its health and metrics is taken, and names that', async () => {
    const port = await listen((socket) => socket.destroy())

    const { code, said } = await ending({
      DATABASE_URL: (await database()).url,
      STARCITE_OPS_PORT: String(port),
    })

    expect(code, said).to.equal(3)
    expect(said).to.include(`port ${port} is taken`).and.include('STARCITE_OPS_PORT')
  })

  it('ends with 3 when the address is not one of this machine', async () => {
    const { code, said } = await ending({ DATABASE_URL: (await database()).url, STARCITE_HOST: '192.0.2.1' })

    expect(code, said).to.equal(3)
    expect(said).to.match(/^starcite: cannot listen: .*192\.0\.2\.1/)
  })

  it('waits for a database that is not there yet, is not ready meanwhile, and then is', async () => {
    const { url } = await database()
    const [port, databasePort] = [await freePort(), await freePort()]
    const later = new URL(url)
    later.port = String(databasePort)
    const { child, output } = run({
      DATABASE_URL: as(later.username, { url: later.href }),
      PORT: String(port),
    })
    const health = async (of: string) => {
      const response = await fetch(`http://127.0.0.1:${port}${of}`).catch(() => undefined)
      return response && { status: response.status, body: await response.json() }
    }
    await until('it waits', () => output().includes('waiting for Postgres'))

    expect(await health('/health/live')).to.deep.equal({ status: 200, body: { status: 'ok' } })
    expect(await health('/health/ready')).to.deep.equal({
      status: 503,
      body: { status: 'unavailable', reason: 'starting' },
    })
    expect((await health('/v1/sessions'))?.body).to.include({ error: 'storage_unavailable' })
    await listen((socket) => {
      const to = dial(Number(new URL(url).port), new URL(url).hostname)
      socket.pipe(to).pipe(socket)
      for (const [one, other] of [
        [socket, to],
        [to, socket],
      ] as const)
        one.on('error', () => {}).on('close', () => other.destroy())
    }, databasePort)

    await until('it is ready', async () => (await health('/health/ready'))?.status === 200)
    expect(output()).not.to.include(SECRET)
    child.kill('SIGTERM')
    expect(await once(child, 'exit')).to.deep.equal([0, null])
  })

  it('ends with 4 when the database does not come in time', async () => {
    const { code, said } = await ending({
      DATABASE_URL: `postgres://u:${SECRET}@127.0.0.1:${await freePort()}/d`,
      STARCITE_STARTUP_WAIT: '300ms',
    })

    expect(code, said).to.equal(4)
    expect(said).to.match(/^starcite: Postgres did not answer within 0\.3 s: /)
  })

  it('ends with 4 over a wrong password, at once', async () => {
    /** Postgres's answer to a startup message with a wrong password. */
    const fields = `SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user "u"\0\0`
    const refusal = Buffer.alloc(5 + fields.length)
    refusal.write('E', 0)
    refusal.writeInt32BE(4 + fields.length, 1)
    refusal.write(fields, 5)
    const port = await listen((socket) => {
      socket.on('error', () => {})
      socket.once('data', () => socket.end(refusal))
    })

    const { code, said } = await ending({ DATABASE_URL: `postgres://u:${SECRET}@127.0.0.1:${port}/d` })

    expect(code, said).to.equal(4)
    expect(said).to.match(/^starcite: Postgres refuses the user or password of the database URL: /)
  })

  it('ends with 4 for a user or a database that does not exist, and for a user who may not make a schema', async () => {
    const { url, name } = await database()
    const nowhere = new URL(url)
    nowhere.pathname = `/${name}_nowhere`
    const admin = await connect({ url })
    const poor = `poor_${name}`
    await admin.query(`create role ${poor} login password '${SECRET}'`)

    try {
      const [noUser, noDatabase, noRight] = await Promise.all([
        ending({ DATABASE_URL: as(`nobody_${name}`, { url }) }),
        ending({ DATABASE_URL: nowhere.href }),
        ending({ DATABASE_URL: as(poor, { url }) }),
      ])

      expect([noUser.code, noDatabase.code, noRight.code]).to.deep.equal([4, 4, 4])
      expect(noUser.said).to.include('user or password')
      expect(noDatabase.said).to.include('does not exist')
      expect(noRight.said).to.include('may not create the schema')
    } finally {
      await admin.query(`drop role ${poor}`)
      await admin.end()
    }
  })

  it('ends with 5 when a newer release has made the schema, and names what it does not know', async () => {
    const migrated = await database(migratedDatabase)
    const admin = await connect(migrated)
    await admin.query(`insert into starcite.migrations (name, run_on) values ('9999_from_the_future', now())`)
    await admin.end()

    const { code, said } = await ending({ DATABASE_URL: migrated.url })

    expect(code, said).to.equal(5)
    expect(said).to.match(/^starcite: the database was migrated by a newer release .*9999_from_the_future/)
  })

  it('ends with 1 after an unhandled rejection and after an uncaught error, and logs why', async () => {
    const { url } = await database(migratedDatabase)
    const faults = ['Promise.reject(new Error("unhandled"))', 'throw new Error("uncaught")']
    const endings = faults.map(async (fault) => {
      const trap = `process.on("SIGUSR2", () => { ${fault} })`
      const program = run({
        DATABASE_URL: url,
        NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(trap)}`,
      })
      const ended = once(program.child, 'close')
      await until('it is ready', () => program.output().includes('"msg":"ready"'))

      program.child.kill('SIGUSR2')

      expect((await ended)[0], program.output()).to.equal(1)
      const logged = program
        .output()
        .split('\n')
        .filter((line) => line.startsWith('{'))
      const line = logged.map((line) => JSON.parse(line)).find((entry) => entry.level === 60)
      expect(line.msg).to.equal('uncaught error: the process ends')
      expect(line.err.stack).to.match(/^Error: (unhandled|uncaught)\n/)
    })
    await Promise.all(endings)
  })
})
