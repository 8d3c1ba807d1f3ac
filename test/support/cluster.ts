import { execFile } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { rmSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { isFree, keepPort } from '../../src/db/embedded/ports.ts'
import { startEmbeddedPostgres } from '../../src/db/embedded/server.ts'
import { makeScratch } from './scratch.ts'
import { serverPackage } from './serverPackage.ts'

export type ClusterKind = 'throwAway' | 'durable'

const made = new Map<ClusterKind, Promise<string>>()

/** Below the ports that systems assign, above those of well-known services. */
const PORTS = { from: 10_000, to: 32_000 }

/**
 * A data directory as initdb leaves it, which takes a second of processor time: a copy of one that was made before. Its server has
 * a port of its own: other tests take the usual one, also between a stop and the next start.
 */
export async function copyCluster(dir: string, kind: ClusterKind = 'throwAway'): Promise<void> {
  await promisify(execFile)('cp', ['-a', await originalCluster(kind), dir]) // with its owner
  await keepPort(dir, await unusedPort())
}

async function unusedPort(): Promise<number> {
  for (;;) {
    const port = randomInt(PORTS.from, PORTS.to)
    if (await isFree(port)) return port
  }
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
