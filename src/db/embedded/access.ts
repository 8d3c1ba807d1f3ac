import { chown, readFile, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Account } from './account.ts'
import { withClient } from './clients.ts'
import { passwordFileOf, readPassword, writePassword } from './password.ts'

/** Lines of pg_hba.conf with which a server does not ask for a password. */
const TRUSTING = /^(\s*(?:local|host)\S*\s.*\s)trust\s*$/gm

/**
 * Enables passwords on a running server that was created by a release which let in every user of the machine.
 * Idempotent: an interrupted run leaves a server that lets its owner in.
 */
export async function requirePassword(
  dir: string,
  port: number,
  account: Account | undefined,
): Promise<boolean> {
  const file = path.join(dir, 'pg_hba.conf')
  const rules = await readFile(file, 'utf8')
  if (rules.search(TRUSTING) === -1) return false
  const password = (await readPassword(dir)) ?? (await writePassword(passwordFileOf(dir), account))
  await withClient(dir, port, async (client) => {
    // No parameters in utility statements; the password is base64url.
    await client.query(`set password_encryption = 'scram-sha-256'`)
    await client.query(`alter role postgres password '${password}'`)
    const draft = `${file}.${process.pid}`
    await writeFile(draft, rules.replaceAll(TRUSTING, '$1scram-sha-256'), { mode: 0o600 })
    if (account !== undefined) await chown(draft, account.uid, account.gid)
    await rename(draft, file)
    await client.query('select pg_catalog.pg_reload_conf()')
  })
  return true
}
