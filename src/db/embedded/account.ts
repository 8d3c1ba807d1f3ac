import { execFile } from 'node:child_process'
import { stat } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { EmbeddedPostgresError } from './error.ts'

const run = promisify(execFile)

/** The account that the server runs as when it is not the one of this process. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

export const isRoot = (): boolean => process.getuid?.() === 0

/** Postgres refuses to run as root. Both of these users exist nearly everywhere, so none has to be created. */
const UNPRIVILEGED = ['postgres', 'nobody']

export async function unprivilegedAccount(): Promise<Account> {
  for (const name of UNPRIVILEGED) {
    const [uid, gid] = await Promise.all([
      run('id', ['-u', name]).catch(() => undefined),
      run('id', ['-g', name]).catch(() => undefined),
    ])
    if (uid !== undefined && gid !== undefined) return { uid: Number(uid.stdout), gid: Number(gid.stdout) }
  }
  throw new EmbeddedPostgresError(
    `Postgres refuses to run as root, and this system has no user ${UNPRIVILEGED.join(' or ')} to run it as. ` +
      'Run this as an ordinary user, or set DATABASE_URL to a server of your own.',
  )
}

/**
 * The nearest existing directory on the path to `target` that the account cannot enter, if there is one. Only the
 * primary group counts: a child that changes its uid loses the other groups.
 */
export async function obstacle(target: string, account: Account): Promise<string | undefined> {
  for (let at = path.resolve(target); ; at = path.dirname(at)) {
    const found = await stat(at).catch(() => undefined)
    if (found !== undefined) {
      const pass = found.uid === account.uid ? 0o100 : found.gid === account.gid ? 0o010 : 0o001
      if ((found.mode & pass) === 0) return at
    }
    if (at === path.dirname(at)) return undefined
  }
}
