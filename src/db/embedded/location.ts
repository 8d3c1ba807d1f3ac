import { createHash } from 'node:crypto'
import { chmod, lstat, mkdir, realpath, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type Account, isRoot, obstacle, unprivilegedAccount } from './account.ts'
import { EmbeddedPostgresError } from './error.ts'

/** Where the data is, the account that the server runs as, and where a copy of the binaries may be created. */
export interface Location {
  readonly dir: string
  readonly account: Account | undefined
  /** Creates that directory if it does not exist yet. */
  copies(): Promise<string>
  /** The reason why `dir` is not the directory that was requested; absent when it is. */
  readonly moved?: string
}

/** For data and binaries in directories that only root can enter. Survives a reboot. */
const SYSTEM_STORE = '/var/lib/starcite'
/** Postgres' programs silently cut a path at 1024 bytes, and write elsewhere; the difference is room for its files. */
const MAX_DIR_BYTES = 900

/**
 * Ordinary users get the directory that they requested. For root, the server runs as another user, who may be unable
 * to reach it (a checkout in /root): then the data is in a directory of the system, named after the requested one, so
 * that each later start finds it again.
 */
export async function chooseLocation(wantedDir: string): Promise<Location> {
  const wanted = await canonical(wantedDir)
  if (Buffer.byteLength(wanted) > MAX_DIR_BYTES)
    throw new EmbeddedPostgresError(
      `Postgres needs a data directory of at most ${MAX_DIR_BYTES} bytes: ${wanted}`,
    )
  if (!isRoot()) {
    await create(path.dirname(wanted))
    return { dir: wanted, account: undefined, copies: async () => path.dirname(wanted) }
  }

  const account = (await ownerOfData(wanted)) ?? (await unprivilegedAccount())
  const blocked = await obstacle(path.dirname(wanted), account)
  if (blocked !== undefined && (await holdsData(wanted)))
    throw new EmbeddedPostgresError(
      `There is a database in ${wanted}, but the user it runs as cannot get past ${blocked} any more. ` +
        `Allow it (chmod o+x ${blocked}), or move the database.`,
    )

  const store = await storeFor(wanted, account)
  const elsewhere = elsewhereOf(wanted, store)
  const stay = (await holdsData(wanted)) || (blocked === undefined && !(await holdsData(elsewhere)))
  const dir = stay ? wanted : elsewhere
  await (stay ? create(path.dirname(dir)) : createStore(store))
  const location = { dir, account: (await ownerOfData(dir)) ?? account, copies: () => createStore(store) }
  if (stay) return location
  return {
    ...location,
    moved: `the user that Postgres runs as cannot reach ${wanted}: the data lives in ${dir}`,
  }
}

/** Whether an earlier start has created a database for the requested directory, there or elsewhere. Creates nothing. */
export async function hasDatabase(wantedDir: string): Promise<boolean> {
  const wanted = await canonical(wantedDir)
  if (await holdsData(wanted)) return true
  if (!isRoot()) return false
  return holdsData(elsewhereOf(wanted, await storeFor(wanted, await unprivilegedAccount())))
}

const elsewhereOf = (wanted: string, store: string): string =>
  path.join(store, createHash('sha256').update(wanted).digest('hex').slice(0, 16))

export async function holdsData(dir: string): Promise<boolean> {
  return (await stat(path.join(dir, 'PG_VERSION')).catch(() => undefined)) !== undefined
}

/** Data that an ordinary user created continues to be used as that user. */
async function ownerOfData(dir: string): Promise<Account | undefined> {
  const found = await stat(path.join(dir, 'PG_VERSION')).catch(() => undefined)
  return found === undefined || found.uid === 0 ? undefined : { uid: found.uid, gid: found.gid }
}

/** Data that was requested in a temporary directory is kept in a temporary one. */
async function storeFor(wanted: string, account: Account): Promise<string> {
  for (const temporary of [tmpdir(), '/tmp']) {
    const root = await canonical(temporary)
    if (!wanted.startsWith(root + path.sep)) continue
    return path.join((await obstacle(root, account)) === undefined ? root : '/tmp', 'starcite-root')
  }
  return SYSTEM_STORE
}

/** Only root may write to the store: a user who can write there could make this process run programs. */
async function createStore(store: string): Promise<string> {
  await mkdir(store, { mode: 0o755 }).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'EEXIST') throw new EmbeddedPostgresError(`cannot create ${store}: ${cause.message}`)
  })
  const found = await lstat(store)
  if (!found.isDirectory() || found.uid !== 0 || (found.mode & 0o022) !== 0)
    throw new EmbeddedPostgresError(`${store} must be a directory that only root can write to`)
  await chmod(store, 0o755)
  return store
}

/** Directories are created so that the server's user can enter them, regardless of the umask. */
async function create(dir: string): Promise<void> {
  try {
    const first = await mkdir(dir, { recursive: true })
    for (let at = dir; first !== undefined && at.length >= first.length; at = path.dirname(at))
      await chmod(at, 0o755)
    await writeGitignore(dir)
  } catch (cause) {
    throw new EmbeddedPostgresError(`cannot create ${dir}: ${(cause as Error).message}`, { cause })
  }
}

/** Keeps the data and keys in `.starcite` out of git repositories. */
export async function writeGitignore(dir: string): Promise<void> {
  if (path.basename(dir) !== '.starcite') return
  await writeFile(path.join(dir, '.gitignore'), '*\n', { flag: 'wx' }).catch(() => undefined)
}

/** An absolute path without symbolic links, as far as it exists: one directory has one name. */
async function canonical(dir: string): Promise<string> {
  const absolute = path.resolve(dir)
  const parent = path.dirname(absolute)
  const real = await realpath(absolute).catch(() => undefined)
  if (real !== undefined || parent === absolute) return real ?? absolute
  return path.join(await canonical(parent), path.basename(absolute))
}
