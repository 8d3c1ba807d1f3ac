import { execFile } from 'node:child_process'
import { chown, mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import type { Account } from './account.ts'
import { CHILD_ENV, type Package, program } from './binaries.ts'
import { EmbeddedPostgresError } from './error.ts'
import { holdsData } from './location.ts'
import { passwordFileOf, writePassword } from './password.ts'

const run = promisify(execFile)

export interface Cluster {
  readonly dir: string
  readonly root: string
  readonly account: Account | undefined
  /** False for throw-away servers, which also have no password. */
  readonly durable: boolean
}

/**
 * Creates the database cluster if there is none. `initdb` works in a directory of its own that is then renamed, so a
 * directory with the final name is complete, however often the work is killed half-way.
 */
export async function createCluster({ dir, root, account, durable }: Cluster): Promise<void> {
  await removeDrafts(dir)
  const draft = `${dir}.init-${process.pid}-${Date.now()}`
  await mkdir(draft, { mode: 0o700 })
  if (account !== undefined) await chown(draft, account.uid, account.gid)
  await initdb(dir, draft, root, account, durable)
  try {
    await rename(draft, dir) // replaces an empty directory, and refuses any other
    if (durable) await syncDirectory(path.dirname(dir))
  } catch (cause) {
    await rm(draft, { recursive: true, force: true })
    if (await holdsData(dir)) return // another process was faster
    throw new EmbeddedPostgresError(
      `cannot create a database in ${dir}: it must be absent or empty, and not a mount point ` +
        `(a directory inside one is fine): ${(cause as Error).message}`,
      { cause },
    )
  }
}

async function initdb(
  dir: string,
  draft: string,
  root: string,
  account: Account | undefined,
  durable: boolean,
) {
  // initdb requires an empty directory, so the password file is beside it.
  const passwordFile = `${draft}.password`
  if (durable) await writePassword(passwordFile, account)
  const words = [
    '-D',
    draft,
    '-U',
    'postgres',
    ...(durable ? ['-A', 'scram-sha-256', `--pwfile=${passwordFile}`] : ['-A', 'trust']),
    '-E',
    'UTF8',
    '--locale=C',
    '--no-instructions',
  ]
  if (!durable) words.push('--no-sync')
  try {
    await run(program(root, 'initdb'), words, { ...account, cwd: path.parse(dir).root, env: CHILD_ENV })
    if (durable) await rename(passwordFile, passwordFileOf(draft))
    await rm(initLogOf(dir), { force: true })
  } catch (cause) {
    const { stdout = '', stderr = '', message } = cause as Error & { stdout?: string; stderr?: string }
    await rm(draft, { recursive: true, force: true })
    await rm(passwordFile, { force: true })
    const log = initLogOf(dir)
    const kept = await writeFile(log, `${message}\n${stdout}\n${stderr}`).then(
      () => `The whole output is in ${log}.`,
      () => `Its output could not be kept in ${log}.`,
    )
    const said = stderr.trim() || message
    throw new EmbeddedPostgresError(`Postgres could not create a database in ${dir}:\n${said}\n${kept}`, {
      cause,
    })
  }
}

const initLogOf = (dir: string): string => `${dir}.initdb.log`

/**
 * An `initdb` whose parent was killed may still work in its draft: files that cannot be deleted are left for the next
 * start.
 */
async function removeDrafts(dir: string): Promise<void> {
  for (const name of await readdir(path.dirname(dir)))
    if (name.startsWith(`${path.basename(dir)}.init-`))
      await rm(path.join(path.dirname(dir), name), { recursive: true, force: true }).catch(() => undefined)
}

async function syncDirectory(dir: string): Promise<void> {
  if (process.platform === 'win32') return // a directory cannot be opened there
  const handle = await open(dir, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** A newer major version does not read the files of an older one. */
export async function assertSameMajorVersion(dir: string, pack: Package): Promise<void> {
  const has = (await readFile(path.join(dir, 'PG_VERSION'), 'utf8')).trim()
  const wants = pack.version.split('.')[0]
  if (has === wants) return
  throw new EmbeddedPostgresError(
    `The database in ${dir} was created by Postgres ${has}, and the embedded one is version ${wants}. ` +
      'Move the directory away to start with an empty database, or dump the data with that version and restore it.',
  )
}
