import { partsOf } from '../../../archive/objectKey.ts'
import { type ArchivedHash, archivedHashes } from '../../archivedHashes.ts'
import type { Leaf } from '../leaf.ts'
import type { CheckpointStore, Logs, OnWrong, Verifiable } from './verify.ts'

interface SignedLeaf {
  readonly number: number
  readonly leaf: Leaf
}

/** After this many leaves, all objects are read once. */
const MOST_LEAVES = 1_000_000

/**
 * The logs of a copy of the bucket, which has cold events only. Leaves are collected, and compared in batches and at
 * the end.
 */
export class CopiedLogs implements Logs {
  readonly #copy: CheckpointStore
  readonly #leaves = new Map<string, SignedLeaf[]>()
  #collected = 0
  /** Leaves of events that are not in the copy. */
  absent = 0

  constructor(copy: CheckpointStore) {
    this.#copy = copy
  }

  async compare({ number }: Verifiable, leaves: readonly Leaf[], onWrong: OnWrong): Promise<void> {
    for (const leaf of leaves) {
      if (leaf.seq === 0) continue // the session was gone
      const name = nameOf(leaf.tenantId, leaf.sessionId, leaf.seq)
      this.#leaves.set(name, [...(this.#leaves.get(name) ?? []), { number, leaf }])
    }
    this.#collected += leaves.length
    if (this.#collected >= MOST_LEAVES) await this.finish(onWrong)
  }

  async finish(onWrong: OnWrong): Promise<void> {
    if (this.#collected === 0) return
    for await (const { key } of this.#copy.list('v1/')) {
      const tenantId = partsOf(key)?.tenant
      if (tenantId === undefined) continue
      for await (const event of archivedHashes(await this.#copy.get(key)))
        this.#look(tenantId, event, onWrong)
    }
    for (const those of this.#leaves.values()) this.absent += those.length
    this.#leaves.clear()
    this.#collected = 0
  }

  #look(tenantId: string, { session, seq, hash }: ArchivedHash, onWrong: OnWrong): void {
    const name = nameOf(tenantId, session, seq)
    for (const { number, leaf } of this.#leaves.get(name) ?? [])
      if (hash !== leaf.hash)
        onWrong('checkpoint', number, leaf, `the event has the hash ${hash}, and a different one was signed`)
    this.#leaves.delete(name)
  }
}

const nameOf = (tenantId: string, sessionId: string, seq: number) =>
  JSON.stringify([tenantId, sessionId, seq])
