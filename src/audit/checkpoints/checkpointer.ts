import { randomBytes } from 'node:crypto'
import { appended, Pace } from '../../db/pace.ts'
import type { DbSession } from '../../db/session.ts'
import type { ObjectStore } from '../../objects/objectStore.ts'
import {
  bodyOf,
  checkpointKey,
  digestOf,
  leavesKey,
  NO_PREVIOUS,
  parseCheckpoint,
  renderCheckpoint,
  type SignedCheckpoint,
} from './checkpoint.ts'
import * as contradictions from './contradictionQueries.ts'
import { type Leaf, leafBytes } from './leaf.ts'
import { LeavesWriter, readLeaves } from './leaves.ts'
import { MerkleRoot } from './merkle.ts'
import * as queries from './queries.ts'
import { hashesOf } from './signedEvent.ts'
import { isSignedBy, type Signer } from './signer.ts'
import { ForkError, getIfThere, storeOnce } from './store.ts'
import { treeOf } from './tree.ts'

/** The points between the steps of a checkpoint. Tests stop a process at each; nothing else listens. */
export type CheckpointStep = 'gathered' | 'leaves' | 'noted' | 'written' | 'stored'

export interface CheckpointerOptions {
  /** Holds the lock. */
  readonly session: DbSession
  readonly store: ObjectStore
  readonly signer: Signer
  readonly signal: AbortSignal
  /** Called when a checkpoint that only the store had was recorded in the table again. */
  readonly onAdopted?: (checkpoint: SignedCheckpoint) => void
  /** Called for each log that is not what a checkpoint signed, at every pass, until the contradiction is resolved. */
  readonly onContradiction?: (contradiction: contradictions.Contradiction) => void
  /** Called when a checkpoint can no longer be compared with the logs, because its list of leaves is gone. */
  readonly onLeavesGone?: (number: number) => void
  /** The most leaves of one checkpoint: bounds its object, and the memory of a proof. */
  readonly maxLeaves?: number
  /** The checkpoint waits for the returned promise. */
  readonly probe?: (step: CheckpointStep) => unknown
}

interface Gathered {
  readonly leaves: number
  /** The leaves among them that record a discontinuity. */
  readonly discontinuities: number
  /** The last sid that was examined. */
  readonly through: bigint
}

const MAX_LEAVES = 200_000
/** Hashed in some 10 ms; then the event loop is free for other work. */
const LEAVES_PER_READ = 1000
/** Compared in some 20 ms. */
const SIDS_PER_READ = 10_000n

/**
 * Takes checkpoints; migrations/0009_checkpoints.sql describes the steps. A run that was interrupted anywhere is
 * simply repeated. It leaves a list of leaves in the object store that nothing refers to, or a checkpoint that is in
 * the table and not yet in the store, which the next run stores first.
 */
export class Checkpointer {
  readonly #options: CheckpointerOptions
  readonly #pace: Pace

  constructor(options: CheckpointerOptions) {
    this.#options = options
    const { session, signal } = options
    this.#pace = new Pace({ appended: () => appended(session), signal })
  }

  /**
   * Makes table and store have the same checkpoints: stores what an earlier run has recorded, and records what only
   * the store has because the database was restored from a backup, so that the chain continues from there and shows
   * what the restore has lost. Rejects with a ForkError when the store has a checkpoint that is not of this chain and
   * key.
   */
  async finish(): Promise<void> {
    for (const checkpoint of await queries.unstoredCheckpoints(this.#options.session))
      await this.#store(checkpoint)
    while (await this.#adopt());
  }

  /**
   * Takes the next checkpoint, also when no head has moved, because that is worth a signature, too. Takes several
   * when more heads have moved than one covers; together they cover every session.
   */
  async take(onTaken: (checkpoint: SignedCheckpoint) => void): Promise<void> {
    await this.#pace.begin()
    const end = await queries.lastSid(this.#options.session)
    let sid = 0n
    do {
      await this.finish()
      const { checkpoint, through } = await this.#takeOne(sid, end)
      onTaken(checkpoint)
      sid = through
    } while (sid < end)
  }

  async #takeOne(after: bigint, end: bigint): Promise<{ checkpoint: SignedCheckpoint; through: bigint }> {
    const { session, store, signer, signal, probe } = this.#options
    const last = await queries.lastCheckpoint(session)
    const number = (last?.number ?? 0) + 1
    const time = await queries.beginGathering(session)
    const { leaves, discontinuities, through } = await this.#gather(after, end)
    await probe?.('gathered')
    const { root, object } = await this.#hash(leaves)
    let key: string | undefined
    if (leaves > 0) {
      key = leavesKey(number, root, randomBytes(3).toString('hex'))
      await storeOnce(store, key, object, signal)
    }
    await probe?.('leaves')

    const previous = last?.sha256 ?? NO_PREVIOUS
    const parts = { number, previous, root, leaves, discontinuities, time, keyId: signer.keyId }
    const body = bodyOf(parts)
    const signature = await signer.sign(Buffer.from(body))
    if (!isSignedBy(signer.publicKey, Buffer.from(body), signature))
      throw new Error(`the signer returned bytes that are not a signature by the key ${signer.keyId}`)
    const checkpoint = { ...parts, body, signature, leavesKey: key }
    await queries.noteCheckpoint(session, checkpoint, digestOf(body), (started) => this.#rest(started))
    await probe?.('noted')
    await this.#store(checkpoint)
    return { checkpoint, through }
  }

  /**
   * Gathers acknowledged discontinuities and the heads after a sid, up to the end or to the limit of one checkpoint.
   * Each head is compared with what was signed of it in the snapshot in which it is gathered.
   */
  async #gather(after: bigint, end: bigint): Promise<Gathered> {
    const { session, signal, maxLeaves = MAX_LEAVES } = this.#options
    if (after === 0n) {
      await contradictions.resolve(session)
      for (const it of await contradictions.openContradictions(session)) this.#options.onContradiction?.(it)
    }
    const discontinuities = await contradictions.gatherDiscontinuities(session, maxLeaves)
    let leaves = discontinuities
    let through = after
    while (through < end && leaves < maxLeaves) {
      signal.throwIfAborted()
      const started = performance.now()
      const upTo = through + SIDS_PER_READ < end ? through + SIDS_PER_READ : end
      await this.#loadGathered(through, upTo)
      const [gathered, suspects] = await session.transaction(
        async () => {
          const found = await contradictions.suspects(session, through, upTo)
          const certain = found.filter((it) => it.reason !== 'cold')
          this.#report(await contradictions.noteContradictions(session, await this.#named(certain)))
          return [
            await queries.gatherMoved(session, through, upTo, maxLeaves - leaves),
            found.filter((it) => it.reason === 'cold'),
          ] as const
        },
        { oneSnapshot: true },
      )
      leaves += gathered.count - (await this.#excludeSuspects(suspects))
      through = gathered.through
      await this.#rest(started)
    }
    return { leaves, discontinuities, through }
  }

  /** The names of sessions that no longer exist are in the lists of leaves. */
  async #named(suspects: readonly contradictions.Suspect[]): Promise<contradictions.Suspect[]> {
    const { session, store, signal } = this.#options
    const nameless = suspects.filter((it) => it.tenantId === null)
    const names = new Map<string, Leaf>()
    for (const number of new Set(nameless.map((it) => it.number))) {
      const key = await queries.leavesKeyOf(session, number)
      const object = key === undefined ? undefined : await getIfThere(store, key, signal)
      if (object === undefined) continue
      const wanted = new Set(nameless.map((it) => `${it.signedSeq} ${it.signedHash}`))
      for await (const leaves of readLeaves(object))
        for (const leaf of leaves)
          if (wanted.has(`${leaf.seq} ${leaf.hash}`)) names.set(`${number} ${leaf.seq} ${leaf.hash}`, leaf)
    }
    return suspects.map((it) => {
      const name = names.get(`${it.number} ${it.signedSeq} ${it.signedHash}`)
      return it.tenantId === null && name ? { ...it, tenantId: name.tenantId, sessionId: name.sessionId } : it
    })
  }

  /** Reads from the lists of leaves what was signed of these sids by a build that kept no hashes. */
  async #loadGathered(after: bigint, upTo: bigint): Promise<void> {
    const { session, store, signal, onLeavesGone } = this.#options
    for (const number of await contradictions.numbersWithoutHashes(session, after, upTo)) {
      const key = await queries.leavesKeyOf(session, number)
      const object = key === undefined ? undefined : await getIfThere(store, key, signal)
      if (object === undefined) onLeavesGone?.(number)
      else
        for await (const leaves of readLeaves(object))
          await contradictions.noteHashes(session, number, leaves)
    }
  }

  /** Compares signed events that are cold. Returns how many gathered heads are removed again. */
  async #excludeSuspects(suspects: readonly contradictions.Suspect[]): Promise<number> {
    const { session, store, signal } = this.#options
    const wrong: contradictions.Suspect[] = []
    const hashes = await hashesOf(session, store, suspects, signal)
    for (const it of suspects) {
      const found = hashes.get(it.sid)
      if (found === undefined) wrong.push({ ...it, foundHash: null, reason: 'gone' })
      else if (it.signedHash !== null && found !== it.signedHash)
        wrong.push({ ...it, foundHash: found, reason: 'changed' })
    }
    const before = wrong.length === 0 ? 0 : await queries.countMoved(session)
    this.#report(await contradictions.noteContradictions(session, wrong))
    return wrong.length === 0 ? 0 : before - (await queries.countMoved(session))
  }

  #report(found: readonly contradictions.Contradiction[]): void {
    for (const it of found) this.#options.onContradiction?.(it)
  }

  /** Yields to appends while there are any: a checkpoint has time until the next one is due. */
  #rest(started: number): Promise<void> {
    return this.#pace.rest(Number.MAX_SAFE_INTEGER, performance.now() - started)
  }

  /** Adopts the next checkpoint if the store has it already. Returns whether it had. */
  async #adopt(): Promise<boolean> {
    const { session, store, signer, signal } = this.#options
    const last = await queries.lastCheckpoint(session)
    const key = checkpointKey((last?.number ?? 0) + 1)
    const object = await getIfThere(store, key, signal)
    if (object === undefined) return false
    const found = parseCheckpoint(object)
    const isNext =
      found !== undefined &&
      checkpointKey(found.number) === key &&
      found.previous === (last?.sha256 ?? NO_PREVIOUS) &&
      found.keyId === signer.keyId &&
      isSignedBy(signer.publicKey, Buffer.from(found.body), found.signature)
    if (!isNext)
      throw new ForkError(
        `${key} in the object store is not the successor of the last checkpoint of this database, signed by the key ${signer.keyId}`,
      )
    const { root, leaves } = await treeOf(
      found.leavesKey === undefined ? undefined : await store.get(found.leavesKey, signal),
    )
    if (root !== found.root) throw new ForkError(`${found.leavesKey} does not have the leaves of ${key}`)
    await queries.noteAgain(session, found, digestOf(found.body), leaves)
    this.#options.onAdopted?.(found)
    return true
  }

  async #hash(leaves: number): Promise<{ root: string; object: Buffer }> {
    const { session, signal } = this.#options
    const tree = new MerkleRoot()
    const writer = new LeavesWriter()
    for (let last: Leaf | undefined; tree.size < leaves; ) {
      signal.throwIfAborted()
      const started = performance.now()
      const read = await queries.readMoved(session, last, LEAVES_PER_READ)
      if (read.length === 0) throw new Error(`only ${tree.size} of ${leaves} gathered heads could be read`)
      for (const leaf of read) {
        tree.add(leafBytes(leaf))
        writer.add(leaf)
      }
      last = read.at(-1)
      await this.#rest(started)
    }
    return { root: tree.root.toString('hex'), object: await writer.finish() }
  }

  async #store(checkpoint: SignedCheckpoint): Promise<void> {
    const { session, store, signal, probe } = this.#options
    await storeOnce(store, checkpointKey(checkpoint.number), renderCheckpoint(checkpoint), signal)
    await probe?.('written')
    await queries.markStored(session, checkpoint.number)
    await probe?.('stored')
  }
}
