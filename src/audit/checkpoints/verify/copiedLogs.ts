import { type ArchivedHash, archivedHashes } from '../../archivedHashes.ts'
import { partsOf } from '../../copiedFiles.ts'
import type { Leaf } from '../leaf.ts'
import type { CheckpointStore, Logs } from './verify.ts'

interface Kept {
  readonly leaf: Leaf
  readonly onWrong: (leaf: Leaf, detail: string) => void
}

/** Each time so many leaves are together, all objects are read once. */
const MOST_LEAVES = 1_000_000

/**
 * The logs of a copy of the bucket, which has cold events only. Leaves are collected, and compared when there are many, and
 * at the end: `finish` is to be called.
 */
export class CopiedLogs implements Logs {
  readonly #copy: CheckpointStore
  readonly #leaves = new Map<string, Kept[]>()
  #collected = 0
  /** Leaves of events that are not in the copy. */
  absent = 0

  constructor(copy: CheckpointStore) {
    this.#copy = copy
  }

  async compare(_: number, leaves: readonly Leaf[], onWrong: Kept['onWrong']): Promise<void> {
    for (const leaf of leaves) {
      const name = nameOf(leaf.tenantId, leaf.sessionId, leaf.seq)
      this.#leaves.set(name, [...(this.#leaves.get(name) ?? []), { leaf, onWrong }])
    }
    this.#collected += leaves.length
    if (this.#collected >= MOST_LEAVES) await this.finish()
  }

  async finish(): Promise<void> {
    if (this.#collected === 0) return
    for await (const { key } of this.#copy.list('v1/')) {
      const tenantId = partsOf(key)?.tenant
      if (tenantId === undefined) continue
      for await (const event of archivedHashes(await this.#copy.get(key))) this.#look(tenantId, event)
    }
    for (const those of this.#leaves.values()) this.absent += those.length
    this.#leaves.clear()
    this.#collected = 0
  }

  #look(tenantId: string, { session, seq, hash }: ArchivedHash): void {
    const name = nameOf(tenantId, session, seq)
    for (const { leaf, onWrong } of this.#leaves.get(name) ?? [])
      if (hash !== leaf.hash) onWrong(leaf, `the event has the hash ${hash}, and another one was signed`)
    this.#leaves.delete(name)
  }
}

const nameOf = (tenantId: string, sessionId: string, seq: number) =>
  JSON.stringify([tenantId, sessionId, seq])
