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
  /** A checkpoint that only the store had was noted again. */
  readonly onAdopted?: (checkpoint: SignedCheckpoint) => void
  /** A log is not what a checkpoint signed. Told each time that heads are looked at, until that is settled. */
  readonly onContradiction?: (contradiction: contradictions.Contradiction) => void
  /** What a checkpoint signed can no longer be compared with the logs: its list of leaves is gone. */
  readonly onLeavesGone?: (number: number) => void
  /** What one checkpoint covers at most: a bound on its object, and on what makes a proof. */
  readonly maxLeaves?: number
  /** The checkpoint waits for what it answers. */
  readonly probe?: (step: CheckpointStep) => unknown
}

interface Gathered {
  readonly leaves: number
  /** Of those, leaves that record one. */
  readonly discontinuities: number
  /** The last sid that was looked at. */
  readonly through: bigint
}

const MAX_LEAVES = 200_000
/** Hashed in some 10 ms; then others have their turn on the event loop. */
const LEAVES_PER_READ = 1000
/** Compared in some 20 ms. */
const SIDS_PER_READ = 10_000n

/**
 * Takes checkpoints; migrations/0009_checkpoints.sql tells the steps. A run that was cut anywhere is simply run again:
 * what is left of it is a list of leaves in the object store that nothing names, or a checkpoint that is noted and not yet
 * stored, which the next run stores first.
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
   * Table and store have the same checkpoints afterwards: what an earlier run has noted is stored; and what only the store
   * has, because the database was restored from a backup, is noted again, so that the chain goes on from there and shows
   * what the restore has lost. Rejects with a ForkError when the store has one that is not of this chain and key.
   */
  async finish(): Promise<void> {
    for (const checkpoint of await queries.unstoredCheckpoints(this.#options.session))
      await this.#store(checkpoint)
    while (await this.#adopt());
  }

  /**
   * The next checkpoint, also when nothing has moved: that is worth a signature, too. More than one when more has moved
   * than one covers; together they have looked at every session.
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
      throw new Error(`what the signer gave is no signature by the key ${signer.keyId}`)
    const checkpoint = { ...parts, body, signature, leavesKey: key }
    await queries.noteCheckpoint(session, checkpoint, digestOf(body), (started) => this.#rest(started))
    await probe?.('noted')
    await this.#store(checkpoint)
    return { checkpoint, through }
  }

  /**
   * Acknowledged discontinuities, and heads of sids after one, up to the end or to as many as one checkpoint may have. A head
   * is compared with what was signed of it in the same snapshot in which it is gathered.
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

  /** The names of sessions that are gone are in the lists of leaves. */
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

  /** What a build that kept no hashes has signed of these sids is read from the lists of leaves. */
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

  /** Compares signed events that are cold; answers how many gathered heads are taken out again. */
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

  /** While appends go on, most of the time is theirs; a checkpoint has time, until the next one is due. */
  #rest(started: number): Promise<void> {
    return this.#pace.rest(Number.MAX_SAFE_INTEGER, performance.now() - started)
  }

  /** Whether the store had the next checkpoint already. */
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
        `${key} is in the object store, and is not signed by the key ${signer.keyId} as what follows the last checkpoint of this database`,
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
      if (read.length === 0) throw new Error(`of ${leaves} gathered heads only ${tree.size} are there`)
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
