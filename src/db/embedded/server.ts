import { requirePassword } from './access.ts'
import { findPackage, type Package, usableBinaries } from './binaries.ts'
import { isInUse, urlOf } from './clients.ts'
import { assertSameMajorVersion, createCluster } from './dataDirectory.ts'
import { EmbeddedPostgresError } from './error.ts'
import { launch } from './launch.ts'
import { passwordFileOf } from './password.ts'
import { choosePlace, holdsData } from './place.ts'
import { keepPort, usualPort } from './ports.ts'
import { findServer, isServerOf, type Postmaster } from './postmaster.ts'
import { boundLog } from './serverLog.ts'
import { withStartLock } from './startLock.ts'
import { stopServer } from './stop.ts'

export interface EmbeddedPostgres {
  /** Plain TCP on loopback: postgres://postgres:PASSWORD@127.0.0.1:PORT/postgres */
  readonly url: string
  /** Where the data really is; not always where it was wanted. */
  readonly dir: string
  readonly port: number
  readonly pid: number
  /** It was already running. */
  readonly adopted: boolean
  /**
   * Fast shutdown; a second call changes nothing. With `ifUnused`, a server that other clients are
   * connected to is left running (another node uses it): close your own connections first.
   */
  stop(options?: { ifUnused?: boolean }): Promise<'stopped' | 'left running'>
}

export interface EmbeddedPostgresOptions {
  /** The wanted data directory. It must be absent, empty, or a database made earlier. */
  readonly dir: string
  /** Absent or 0: whatever port is free now. A server that already runs keeps the port it has. */
  readonly port?: number
  /** Taken if it is free, and no other is asked for: where clients of an earlier server will look for it. */
  readonly preferredPort?: number
  /** Rather than create a database where the data should be, fail. */
  readonly mustExist?: boolean
  /** Gives up: rejects, and leaves no server that was just being started. */
  readonly signal?: AbortSignal
  /** More `-c` settings. A server that already runs keeps those it was started with. */
  readonly settings?: Readonly<Record<string, string>>
  /** False only for throw-away servers: without fsync a crash of the machine may ruin the data. */
  readonly durable?: boolean
  /** Another Postgres than the one that is installed with us. */
  readonly pack?: Package
  readonly onMessage?: (message: string) => void
}

/**
 * A Postgres of our own, for trying, developing and testing, from binaries that came with the packages.
 *
 * The server outlives us: it runs in a process group of its own, and if we are killed the next start on
 * the same directory finds and adopts it. One directory has one server, however many processes start at
 * once; they must see the same process ids, so a directory is not to be shared between containers.
 *
 * It listens on loopback alone and asks for a password, which only the user that created it can read (password.ts). A
 * throw-away server (`durable: false`) asks for none.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { durable = true, settings = {}, signal, onMessage: say = () => undefined } = options
  const place = await choosePlace(options.dir)
  const { dir, account, moved } = place
  if (moved !== undefined) say(moved)

  const start = async () => {
    signal?.throwIfAborted() // we may have waited for the lock for long
    const { server, crashed } = await findServer(dir, signal)
    if (server !== undefined) {
      await boundLog(dir)
      say(`using the database that already runs on port ${server.port}, data in ${dir}`)
      return running(server, true)
    }
    const pack = options.pack ?? (await findPackage())
    const root = await usableBinaries(pack, place.copies, account)
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
      // Under the lock nobody can adopt the server between our look at its clients and its end.
      return withStartLock(lockOf(dir), async () => {
        if (!(await isServerOf(pid, dir))) return 'stopped'
        return (await isInUse(dir, port)) ? 'left running' : stop()
      })
    },
  }
}
