import type { KeyObject } from 'node:crypto'
import type { ObjectStore } from '../../../objects/objectStore.ts'
import {
  CHECKPOINT_PREFIX,
  checkpointKey,
  digestOf,
  NO_PREVIOUS,
  numberOfKey,
  parseCheckpoint,
  type SignedCheckpoint,
} from '../checkpoint.ts'
import type { Discontinuity, Leaf } from '../leaf.ts'
import { isSignedBy } from '../signer.ts'
import { getIfThere } from '../store.ts'
import { treeOf } from '../tree.ts'

/**
 * What can be wrong with checkpoints, or with the logs that they sign:
 * - `missing`: a number is left out, or only the table or only the store has it, or the object of its leaves is gone
 * - `changed`: it does not have the form of a checkpoint, or table and store differ, or its leaves do not make its
 * root
 * - `broken`: it does not follow from the previous one
 * - `signature`: it is not signed by a trusted key
 * - `checkpoint`: the log of a session is not what was signed
 * - `left_out`: the recorded coverage of a session is beyond what was signed, so later checkpoints leave it out
 */
export type CheckpointReason = 'missing' | 'changed' | 'broken' | 'signature' | 'checkpoint' | 'left_out'

export interface CheckpointFinding {
  readonly reason: CheckpointReason
  /** The number of the checkpoint; 0 when the finding is about none. */
  readonly number: number
  /** What was found, as a sentence. */
  readonly detail: string
  /** For `checkpoint` and `left_out`: the session and seq. */
  readonly log?: Pick<Leaf, 'tenantId' | 'sessionId' | 'seq'>
}

/** A discontinuity of a log that checkpoint `number` has recorded. */
export interface Acknowledged {
  readonly number: number
  readonly log: Pick<Leaf, 'tenantId' | 'sessionId' | 'seq'>
  readonly discontinuity: Discontinuity
}

/** Where checkpoints and their leaves are: the object store, or a copy of it. */
export type CheckpointStore = Pick<ObjectStore, 'get' | 'list'>

/** A checkpoint of the table. */
export interface Row extends SignedCheckpoint {
  /** Whether the table says that the store has it. */
  readonly isStored: boolean
  /** Whether the columns beside the body, which audit.checkpoints shows, agree with the body. */
  readonly repeatsBody: boolean
}

/** A checkpoint that is being verified; `isNoted`: the table has it. */
export type Verifiable = SignedCheckpoint & { readonly isNoted: boolean }

/** The table of checkpoints; a copy of the bucket has none. */
export interface CheckpointTable {
  numbers(): Promise<readonly number[]>
  read(numbers: readonly number[]): Promise<ReadonlyMap<number, Row>>
  /** The highest number that anything else in the database refers to. */
  highestCovering(): Promise<number>
}

/** Called with what is wrong with the log of a leaf's session. */
export type OnWrong = (
  reason: 'checkpoint' | 'left_out',
  number: number,
  leaf: EventOfLeaf,
  detail: string,
) => void

type EventOfLeaf = Pick<Leaf, 'tenantId' | 'sessionId' | 'seq'>

/** The logs that leaves are compared with. */
export interface Logs {
  /** Compares all leaves of one checkpoint. Checkpoints come in order. */
  compare(checkpoint: Verifiable, leaves: readonly Leaf[], onWrong: OnWrong): Promise<void>
  /** Called after the last checkpoint. */
  finish(onWrong: OnWrong): Promise<void>
}

export interface VerifyCheckpointsOptions {
  readonly store: CheckpointStore
  readonly table?: CheckpointTable
  readonly logs: Logs
  /** Undefined: signatures are not verified. */
  readonly keys: ReadonlyMap<string, KeyObject> | undefined
  /** Digests of checkpoints that were published; each must exist. */
  readonly anchors: readonly string[]
  /** Leaves of older checkpoints are not compared. */
  readonly since: number
  readonly signal: AbortSignal
  readonly onFinding: (finding: CheckpointFinding) => void
  /** Called for a log that is not what was signed when a later checkpoint has recorded that. It is not a finding. */
  readonly onAcknowledged?: (acknowledged: Acknowledged) => void
  readonly onProgress?: (verified: Readonly<VerifiedCheckpoints>) => void
}

export interface VerifiedCheckpoints {
  checkpoints: number
  /** Leaves that were compared with a log, or whose log is not at hand. */
  leaves: number
  /** The newest checkpoint. */
  last: { readonly number: number; readonly time: string; readonly sha256: string } | undefined
}

const AT_ONCE = 16

/**
 * Collects what is wrong with logs until the end, because a later checkpoint may have recorded a discontinuity. The
 * leaf of that checkpoint covers the rest of the log from its first event on, so later changes of the rest are found.
 */
class Differences {
  readonly #options: Pick<VerifyCheckpointsOptions, 'onFinding' | 'onAcknowledged'>
  readonly #findings: CheckpointFinding[] = []
  readonly #acknowledged = new Map<string, number>()

  constructor(options: Pick<VerifyCheckpointsOptions, 'onFinding' | 'onAcknowledged'>) {
    this.#options = options
  }

  add(finding: CheckpointFinding): void {
    this.#findings.push(finding)
  }

  acknowledge(number: number, leaves: readonly Leaf[]): void {
    for (const { tenantId, sessionId, seq, discontinuity } of leaves) {
      if (discontinuity === undefined) continue
      this.#acknowledged.set(nameOf({ tenantId, sessionId }), number)
      this.#options.onAcknowledged?.({ number, log: { tenantId, sessionId, seq }, discontinuity })
    }
  }

  finish(): void {
    for (const it of this.#findings) {
      const acknowledged = (it.log && this.#acknowledged.get(nameOf(it.log))) ?? 0
      if (it.reason !== 'checkpoint' || it.number >= acknowledged) this.#options.onFinding(it)
    }
  }
}

const nameOf = ({ tenantId, sessionId }: Pick<Leaf, 'tenantId' | 'sessionId'>) =>
  JSON.stringify([tenantId, sessionId])

/**
 * Verifies the chain of checkpoints from the first to the last: signatures and anchors, that table and store have the
 * same ones, that leaves make the signed roots, and that logs are what leaves say. Nodes may continue meanwhile.
 */
export async function verifyCheckpoints(options: VerifyCheckpointsOptions): Promise<VerifiedCheckpoints> {
  const { store, table, logs, anchors, signal, onFinding, onProgress } = options
  const highest = (await table?.highestCovering()) ?? 0
  const known = new Set(await numbersIn(store, signal))
  for (const number of (await table?.numbers()) ?? []) known.add(number)
  const numbers = [...known].sort((a, b) => a - b)
  const verified: VerifiedCheckpoints = { checkpoints: 0, leaves: 0, last: undefined }
  const wanted = new Set(anchors)
  let next = 1
  const reportGap = (end: number) => {
    if (end > next) onFinding({ reason: 'missing', number: next, detail: gap(next, end - 1) })
  }
  const differences = new Differences(options)
  const onWrong: OnWrong = (reason, number, { tenantId, sessionId, seq }, detail) =>
    differences.add({ reason, number, detail, log: { tenantId, sessionId, seq } })
  let before: SignedCheckpoint | undefined
  for (let i = 0; i < numbers.length; i += AT_ONCE) {
    const some = numbers.slice(i, i + AT_ONCE)
    const rows = await table?.read(some)
    // A checkpoint that the table has and the listing had not may have been stored since.
    const objects = await Promise.all(some.map((it) => getIfThere(store, checkpointKey(it), signal)))
    for (const [j, number] of some.entries()) {
      signal.throwIfAborted()
      reportGap(number)
      const isAfterGap = number !== next || (before === undefined && number > 1)
      next = number + 1
      const report: Report = (reason, detail) => void onFinding({ reason, number, detail })
      const it = choose(number, objects[j], rows, report)
      if (it !== undefined) {
        if (!isAfterGap && it.previous !== (before ? digestOf(before.body) : NO_PREVIOUS))
          report('broken', 'it does not have the digest of the previous checkpoint')
        if (before && it.time < before.time)
          report('broken', 'its time is earlier than that of the previous checkpoint')
        checkSignature(it, options.keys, report)
        wanted.delete(digestOf(it.body))
        verified.checkpoints += 1
        verified.last = { number, time: it.time, sha256: digestOf(it.body) }
        if (number >= options.since) {
          const leaves = await readTree(it, options, report)
          if (leaves !== undefined) {
            differences.acknowledge(number, leaves)
            await logs.compare(it, leaves, onWrong)
          }
          verified.leaves += leaves?.length ?? 0
        }
        onProgress?.(verified)
      }
      before = it
    }
  }
  reportGap(highest + 1)
  await logs.finish(onWrong)
  differences.finish()
  for (const anchor of wanted)
    onFinding({ reason: 'missing', number: 0, detail: `no checkpoint has the digest ${anchor}` })
  return verified
}

async function numbersIn(store: CheckpointStore, signal: AbortSignal): Promise<number[]> {
  const numbers: number[] = []
  for await (const { key } of store.list(CHECKPOINT_PREFIX, signal)) {
    const number = numberOfKey(key)
    if (number !== undefined) numbers.push(number)
  }
  return numbers
}

const gap = (from: number, to: number) =>
  from === to ? 'there is no such checkpoint' : `there are no checkpoints ${from} to ${to}`

type Report = (reason: CheckpointReason, detail: string) => undefined

/** The checkpoint of a number, from the store if it has a valid one; reports what is wrong with either. */
function choose(
  number: number,
  object: Buffer | undefined,
  rows: ReadonlyMap<number, Row> | undefined,
  report: Report,
): Verifiable | undefined {
  const row = rows?.get(number)
  const noted = row && { ...row, isNoted: true }
  if (row?.repeatsBody === false) report('changed', 'its columns in the table differ from its body')
  if (object === undefined) {
    if (row?.isStored) report('missing', 'the object store does not have it')
    return noted
  }
  const stored = parseCheckpoint(object)
  if (stored === undefined || stored.number !== number) {
    report('changed', 'the object in the store is not the checkpoint of this number')
    return noted
  }
  if (rows !== undefined && row === undefined) report('missing', 'the table does not have it')
  if (row && !isSame(row, stored)) report('changed', 'the table and the object store have different ones')
  return { ...stored, isNoted: row !== undefined }
}

const isSame = (a: SignedCheckpoint, b: SignedCheckpoint) =>
  a.body === b.body && a.signature.equals(b.signature) && a.leavesKey === b.leavesKey

function checkSignature(it: SignedCheckpoint, keys: VerifyCheckpointsOptions['keys'], report: Report): void {
  if (keys === undefined) return
  const key = keys.get(it.keyId)
  if (key === undefined)
    report('signature', `it is signed by the key ${it.keyId}, which is not one of the given keys`)
  else if (!isSignedBy(key, Buffer.from(it.body), it.signature)) report('signature', 'its signature is wrong')
}

/** Its leaves; undefined when they are not those that were signed. */
async function readTree(
  it: SignedCheckpoint,
  { store, signal }: VerifyCheckpointsOptions,
  report: Report,
): Promise<readonly Leaf[] | undefined> {
  if (it.leaves > 0 && it.leavesKey === undefined)
    return report('missing', 'it does not name the object of its leaves')
  const object = it.leavesKey === undefined ? undefined : await getIfThere(store, it.leavesKey, signal)
  if (it.leavesKey !== undefined && object === undefined)
    return report('missing', `${it.leavesKey}, with its leaves, is gone`)
  const tree = await treeOf(object).catch(() => undefined) // damaged
  const discontinuities = tree?.leaves.filter((leaf) => leaf.discontinuity !== undefined).length
  if (
    tree === undefined ||
    tree.root !== it.root ||
    tree.leaves.length !== it.leaves ||
    discontinuities !== it.discontinuities
  )
    return report('changed', 'its leaves are not those that were signed')
  return tree.leaves
}
