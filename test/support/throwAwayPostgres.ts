import { rm } from 'node:fs/promises'
import path from 'node:path'
import type { Package } from '../../src/db/embedded/binaries.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/db/embedded/server.ts'
import { copyCluster } from './cluster.ts'
import { makeScratch } from './scratch.ts'
import { serverPackage } from './serverPackage.ts'

export interface ThrowAwayPostgres {
  readonly server: EmbeddedPostgres
  /** Stops it; nothing of it is left. */
  end(): Promise<void>
}

/** A server of its own, for a process, or for tests that cannot share one. */
export async function throwAwayPostgres(
  settings: Readonly<Record<string, string>> = {},
  pack?: Package,
): Promise<ThrowAwayPostgres> {
  const dir = await makeScratch('test')
  const remove = () => rm(dir, { recursive: true, force: true })
  try {
    if (pack === undefined) await copyCluster(path.join(dir, 'data'))
    const server = await startEmbeddedPostgres({
      dir: path.join(dir, 'data'),
      durable: false,
      pack: pack ?? (await serverPackage()),
      settings,
    })
    return { server, end: () => server.stop().then(remove) }
  } catch (cause) {
    await remove()
    throw cause
  }
}
