import type { Db } from '../../../db/pool.ts'
import type { Leaf } from '../leaf.ts'
import { treeOf } from '../tree.ts'
import { countCovered, coveredBy, type Stored } from './queries.ts'
import type { CheckpointStore, OnWrong, Verifiable } from './verify.ts'

interface Known {
  readonly checkpoint: Verifiable
  /** Sessions that are a leaf of it, and count as covered by it. */
  covered: number
}

/**
 * Holds what sessions count as covered by (starcite.checkpoint_heads) against the leaves of checkpoints. A session is left
 * out of checkpoints until it has moved beyond that, so whoever writes more there than was signed keeps it out. Later
 * checkpoints take sessions over from earlier ones and never the other way round; so of those that were noted before a
 * verification began, a session counts as covered by one only if it is a leaf of it, whatever goes on meanwhile.
 */
export class Coverage {
  readonly #known = new Map<number, Known>()

  /** To be told of each checkpoint whose leaves are compared, those without any too. */
  begin(checkpoint: Verifiable): void {
    if (checkpoint.isNoted) this.#known.set(checkpoint.number, { checkpoint, covered: 0 })
  }

  compare({ number }: Verifiable, leaf: Leaf, covered: Stored['covered'], onWrong: OnWrong): void {
    const known = this.#known.get(number)
    if (known === undefined || covered?.number !== number) return
    known.covered += 1
    if (covered.seq > leaf.seq)
      onWrong('left_out', number, leaf, `the session counts as covered up to ${covered.seq}`)
  }

  /** Tells of sessions that count as covered by a checkpoint that has no leaf of them. */
  async finish(db: Db, store: Pick<CheckpointStore, 'get'>, onWrong: OnWrong): Promise<void> {
    for (const [number, count] of await countCovered(db)) {
      const known = this.#known.get(number)
      // Of what was not compared nothing is known: those before --since, newer ones, those with findings of their own.
      if (number > 0 && (known === undefined || count <= known.covered)) continue
      const leaves = new Set((await leavesOf(store, known?.checkpoint.leavesKey)).map(nameOf))
      for (const it of await coveredBy(db, number))
        if (!leaves.has(nameOf(it)))
          onWrong(
            'left_out',
            number,
            it,
            `the session counts as covered up to ${it.seq} by a checkpoint without it`,
          )
    }
  }
}

const leavesOf = async (store: Pick<CheckpointStore, 'get'>, key: string | undefined) =>
  key === undefined ? [] : (await treeOf(await store.get(key))).leaves

const nameOf = ({ tenantId, sessionId }: Omit<Leaf, 'seq' | 'hash'>) => JSON.stringify([tenantId, sessionId])
