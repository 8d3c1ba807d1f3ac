import { createHash, generateKeyPairSync } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import { CheckpointJob, type CheckpointJobOptions } from '../../src/audit/checkpoints/checkpointJob.ts'
import { localSigner, type Signer } from '../../src/audit/checkpoints/signer.ts'
import type { ObjectStore } from '../../src/objects/objectStore.ts'
import { createLog } from '../../src/ops/log.ts'
import { Metrics } from '../../src/ops/metrics.ts'
import type { TieringLab } from './tiering.ts'

/** A key as `openssl genpkey -algorithm ed25519` makes it. */
export function newKey(): { privatePem: string; publicPem: string; signer: Signer } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const privatePem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
  const publicPem = publicKey.export({ type: 'spki', format: 'pem' }) as string
  return { privatePem, publicPem, signer: localSigner(privatePem) }
}

export function checkpointJob(
  lab: TieringLab,
  options: Partial<CheckpointJobOptions> & { signer: Signer },
): CheckpointJob {
  return new CheckpointJob({
    url: lab.database.url,
    connectTimeoutMs: 5000,
    store: lab.store,
    intervalMs: 1000,
    log: createLog('silent'),
    metrics: new Metrics(),
    ...options,
  })
}

/** Takes one, or several when there is a bound, now. */
export async function takeCheckpoint(
  lab: TieringLab,
  options: Partial<CheckpointJobOptions> & { signer: Signer },
) {
  const result = await checkpointJob(lab, options).pass()
  if (!result.ran) throw new Error(`no checkpoint was taken: ${result.why}`)
  return result.taken
}

/** The lines of a checkpoint's object of leaves, parsed. */
export async function leavesOf(store: ObjectStore, key: string | undefined) {
  if (key === undefined) return []
  const lines = gunzipSync(await store.get(key))
    .toString()
    .trimEnd()
    .split('\n')
  return lines.map(
    (line) => JSON.parse(line) as Record<'tenant_id' | 'session_id' | 'hash', string> & { seq: number },
  )
}

/** RFC 6962's definition, word by word, of leaves as docs/proofs.md describes them. */
export function merkleRoot(leaves: readonly Buffer[]): Buffer {
  const sha256 = (...parts: Buffer[]) => createHash('sha256').update(Buffer.concat(parts)).digest()
  if (leaves.length === 0) return sha256()
  if (leaves.length === 1) return sha256(Buffer.of(0), leaves[0] as Buffer)
  let k = 1
  while (k * 2 < leaves.length) k *= 2
  return sha256(Buffer.of(1), merkleRoot(leaves.slice(0, k)), merkleRoot(leaves.slice(k)))
}

export const leafText = (leaf: { tenant_id: string; session_id: string; seq: number; hash: string }) =>
  [leaf.tenant_id, leaf.session_id, leaf.seq, leaf.hash]
    .map((field) => `${Buffer.byteLength(String(field))}:${field}`)
    .join('')
