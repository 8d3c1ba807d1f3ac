import { requirePassword } from './access.ts'
import { findPackage, type Package, usableBinaries } from './binaries.ts'
import { isInUse, urlOf } from './clients.ts'
import { assertSameMajorVersion, createCluster } from './dataDirectory.ts'
import { EmbeddedPostgresError } from './error.ts'
import { launch } from './launch.ts'
import { chooseLocation, holdsData } from './location.ts'
import { passwordFileOf } from './password.ts'
import { keepPort, usualPort } from './ports.ts'
import { findServer, isServerOf, type Postmaster } from './postmaster.ts'
import { boundLog } from './serverLog.ts'
import { withStartLock } from './startLock.ts'
import { stopServer } from './stop.ts'

export interface EmbeddedPostgres {
  /** Plain TCP on loopback: postgres://postgres:PASSWORD@127.0.0.1:PORT/postgres */
  readonly url: string
  /** The actual data directory, which may differ from the requested one. */
  readonly dir: string
  readonly port: number
  readonly pid: number
  /** Whether it was already running. */
  readonly adopted: boolean
  /**
   * Fast shutdown; a second call changes nothing. With `ifUnused`, a server with other clients is left running
   * (another node uses it): close your own connections first.
   */
  stop(options?: { ifUnused?: boolean }): Promise<'stopped' | 'left running'>
}

export interface EmbeddedPostgresOptions {
  /** The requested data directory. It must be absent, empty, or a database of an earlier start. */
  readonly dir: string
  /** Absent or 0: any free port. A server that already runs keeps its port. */
  readonly port?: number
  /** Used if it is free and no other port is requested: clients of an earlier server look for it there. */
  readonly preferredPort?: number
  /** Fail instead of creating a database when there is none. */
  readonly mustExist?: boolean
  /** Aborts the start: rejects, and leaves no server that was just being started. */
  readonly signal?: AbortSignal
  /** More `-c` settings. A server that already runs keeps those of its start. */
  readonly settings?: Readonly<Record<string, string>>
  /** False only for throw-away servers: without fsync a crash of the machine may destroy the data. */
  readonly durable?: boolean
  /** A Postgres other than the installed package. */
  readonly pack?: Package
  readonly onMessage?: (message: string) => void
}

/**
 * A Postgres for trying, developing and testing, from binaries of an npm package.
 *
 * The server outlives this process: it runs in a process group of its own, and when this process is killed, the next
 * start on the same directory finds and adopts it. One directory has one server, however many processes start at
 * once; they must see the same process ids, so containers must not share a directory.
 *
 * It listens on loopback only and requires a password, which only the user that created it can read (password.ts). A
 * throw-away server (`durable: false`) requires none.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { durable = true, settings = {}, signal, onMessage: say = () => undefined } = options
  const location = await chooseLocation(options.dir)
  const { dir, account, moved } = location
  if (moved !== undefined) say(moved)

  const start = async () => {
    signal?.throwIfAborted() // waiting for the lock may have taken long
    const { server, crashed } = await findServer(dir, signal)
    if (server !== undefined) {
      await boundLog(dir)
      say(`using the database that already runs on port ${server.port}, data in ${dir}`)
      return running(server, true)
    }
    const pack = options.pack ?? (await findPackage())
    const root = await usableBinaries(pack, location.copies, account)
    const cluster = { dir, root, account, durable }
    if (!(await holdsData(dir))) {
      if (options.mustExist) throw new EmbeddedPostgresError(`there is no database in ${dir} any more`)
      say(`creating a database in ${dir}`)
      await createCluster(cluster)
    } else if (crashed) say(`the database in ${dir} was not shut down in order: recovering it`)
    await assertSameMajorVersion(dir, pack)
    await boundLog(dir)
    const preferredPort = options.preferredPort ?? (durable ? await usualPort(dir) : undefined)
    const port = options.port || undefined
    const started = await launch({ ...cluster, port, preferredPort, settings, crashed, signal })
    say(`Postgres ${pack.version} runs on port ${started.server.port}, data in ${dir}`)
    if (durable) await keepPort(dir, started.server.port)
    return running(started.server, started.adopted)
  }
  const running = async (server: Postmaster, adopted: boolean) => {
    if (durable && (await requirePassword(dir, server.port, account)))
      say(`the database in ${dir} asks for a password from now on: it is in ${passwordFileOf(dir)}`)
    return handle(dir, server, await urlOf(dir, server.port), adopted)
  }
  return withStartLock(lockOf(dir), start, signal)
}

const lockOf = (dir: string): string => `${dir}.lock`

function handle(dir: string, { pid, port }: Postmaster, url: string, adopted: boolean): EmbeddedPostgres {
  let stopping: Promise<'stopped'> | undefined
  const stop = () => {
    stopping ??= stopServer(pid, dir).then(() => 'stopped')
    return stopping
  }
  return {
    url,
    dir,
    port,
    pid,
    adopted,
    stop: ({ ifUnused = false } = {}) => {
      if (!ifUnused || stopping !== undefined) return stop()
      // While the lock is held, no process can adopt the server between the check of its clients and its end.
      return withStartLock(lockOf(dir), async () => {
        if (!(await isServerOf(pid, dir))) return 'stopped'
        return (await isInUse(dir, port)) ? 'left running' : stop()
      })
    },
  }
}
