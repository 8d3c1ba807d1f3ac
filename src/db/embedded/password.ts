import { randomBytes } from 'node:crypto'
import { chown, readFile, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Account } from './account.ts'

/** In the data directory, which only the account of the server, and root, can enter. */
export const passwordFileOf = (dir: string): string => path.join(dir, 'starcite.password')

/** The password of the server's superuser, `postgres`; undefined when the server has none. */
export async function readPassword(dir: string): Promise<string | undefined> {
  const text = await readFile(passwordFileOf(dir), 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined
    throw cause
  })
  return text?.trim()
}

/** Creates a password in a file that only the account can read. */
export async function writePassword(file: string, account: Account | undefined): Promise<string> {
  const password = randomBytes(24).toString('base64url')
  const draft = `${file}.${process.pid}`
  await writeFile(draft, `${password}\n`, { mode: 0o600 })
  if (account !== undefined) await chown(draft, account.uid, account.gid)
  await rename(draft, file)
  return password
}
