import { existsSync, rmSync } from 'node:fs'
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { type Package, readPackage } from '../../src/db/embedded/binaries.ts'
import { makeScratch } from './scratch.ts'

/** Where Debian puts its servers, by major version. */
const DEBIAN = '/usr/lib/postgresql'

/** A Postgres of the system, with pg_dump and all, in the form of a package; undefined where there is none. */
export async function systemPostgres(): Promise<(Package & { readonly bin: string }) | undefined> {
  const versions = await readdir(DEBIAN).catch(() => [] as string[])
  const version = versions
    .filter((version) =>
      ['postgres', 'pg_dump', 'pg_restore'].every((tool) =>
        existsSync(path.join(DEBIAN, version, 'bin', tool)),
      ),
    )
    .sort((a, b) => Number(b) - Number(a))[0]
  if (version === undefined) return undefined
  const root = await makeScratch('system-postgres')
  process.once('exit', () => rmSync(root, { recursive: true, force: true }))
  await mkdir(path.join(root, 'native'))
  for (const name of ['bin', 'lib'])
    await symlink(path.join(DEBIAN, version, name), path.join(root, 'native', name))
  await writeFile(path.join(root, 'package.json'), JSON.stringify({ version: `${version}.0.0` }))
  return { ...(await readPackage(root)), bin: path.join(DEBIAN, version, 'bin') }
}
