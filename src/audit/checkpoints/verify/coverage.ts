import type { Db } from '../../../db/pool.ts'
import type { Leaf } from '../leaf.ts'
import { treeOf } from '../tree.ts'
import { countCovered, coveredBy, type Stored } from './queries.ts'
import type { CheckpointStore, OnWrong, Verifiable } from './verify.ts'

interface Known {
  readonly checkpoint: Verifiable
  /** The sessions that are a leaf of it and whose recorded coverage names it. */
  covered: number
}

/**
 * Compares the recorded coverage of sessions (starcite.checkpoint_heads) with the leaves of checkpoints. Checkpoints
 * leave out a session until it has moved beyond its coverage, so an attacker who raises the coverage keeps the
 * session out. Later checkpoints take sessions over from earlier ones and never the other way round. So a session
 * that a checkpoint covers, among those recorded before the verification began, must be a leaf of it,
 * regardless of changes meanwhile.
 */
export class Coverage {
  readonly #known = new Map<number, Known>()

  /** Call it for each checkpoint whose leaves are compared, also for those without leaves. */
  begin(checkpoint: Verifiable): void {
    if (checkpoint.isNoted) this.#known.set(checkpoint.number, { checkpoint, covered: 0 })
  }

  compare({ number }: Verifiable, leaf: Leaf, covered: Stored['covered'], onWrong: OnWrong): void {
    const known = this.#known.get(number)
    if (known === undefined || covered?.number !== number) return
    known.covered += 1
    if (covered.seq > leaf.seq)
      onWrong('left_out', number, leaf, `the recorded coverage of the session is event ${covered.seq}`)
  }

  /** Reports the sessions whose coverage names a checkpoint that has no leaf of them. */
  async finish(db: Db, store: Pick<CheckpointStore, 'get'>, onWrong: OnWrong): Promise<void> {
    for (const [number, count] of await countCovered(db)) {
      const known = this.#known.get(number)
      // Checkpoints that were not compared are skipped: those before --since, newer ones, and those with findings of
      // their own.
      if (number > 0 && (known === undefined || count <= known.covered)) continue
      const leaves = new Set((await leavesOf(store, known?.checkpoint.leavesKey)).map(nameOf))
      for (const it of await coveredBy(db, number))
        if (!leaves.has(nameOf(it)))
          onWrong(
            'left_out',
            number,
            it,
            `the recorded coverage of the session is event ${it.seq}, by a checkpoint without a leaf of it`,
          )
    }
  }
}

const leavesOf = async (store: Pick<CheckpointStore, 'get'>, key: string | undefined) =>
  key === undefined ? [] : (await treeOf(await store.get(key))).leaves

const nameOf = ({ tenantId, sessionId }: Omit<Leaf, 'seq' | 'hash'>) => JSON.stringify([tenantId, sessionId])
