import { execFile } from 'node:child_process'
import { rmSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { startEmbeddedPostgres } from '../../src/db/embedded/server.ts'
import { makeScratch } from './scratch.ts'
import { serverPackage } from './serverPackage.ts'

export type ClusterKind = 'throwAway' | 'durable'

const made = new Map<ClusterKind, Promise<string>>()

/** A data directory as initdb leaves it, which takes a second of processor time: a copy of one that was made before. */
export async function copyCluster(dir: string, kind: ClusterKind = 'throwAway'): Promise<void> {
  await promisify(execFile)('cp', ['-a', await originalCluster(kind), dir]) // with its owner
}

/** The one that is copied: that of `npm test`, or one that this process makes once. */
function originalCluster(kind: ClusterKind): Promise<string> {
  const given = process.env[variableOf(kind)]
  if (given) return Promise.resolve(given)
  const known = made.get(kind) ?? makeCluster(kind)
  made.set(kind, known)
  return known
}

/** For the workers of `npm test`: the originals of this process. */
export async function originalClusters(): Promise<Record<string, string>> {
  const kinds: readonly ClusterKind[] = ['throwAway', 'durable']
  return Object.fromEntries(
    await Promise.all(kinds.map(async (kind) => [variableOf(kind), await originalCluster(kind)])),
  )
}

const variableOf = (kind: ClusterKind) => `STARCITE_TEST_CLUSTER_${kind.toUpperCase()}`

async function makeCluster(kind: ClusterKind): Promise<string> {
  const folder = await makeScratch('cluster')
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const server = await startEmbeddedPostgres({
    dir: path.join(folder, 'data'),
    durable: kind === 'durable',
    pack: await serverPackage(),
  })
  await server.stop()
  await rm(path.join(server.dir, 'starcite.port'), { force: true }) // each copy finds a port of its own
  return server.dir
}
