import { hash } from 'node:crypto'

/** A signed statement of where the logs of sessions ended. docs/proofs.md describes it. */
export interface Checkpoint {
  /** 1, 2, 3 … */
  readonly number: number
  /** The digest of the previous checkpoint's body, in lower-case hex. */
  readonly previous: string
  /** The root of the Merkle tree over the leaves, in lower-case hex. */
  readonly root: string
  readonly leaves: number
  /** Leaves that record an acknowledged discontinuity; usually 0. */
  readonly discontinuities: number
  /** RFC 3339, UTC, six fractional digits. */
  readonly time: string
  readonly keyId: string
}

/** A checkpoint as it is stored and published. */
export interface SignedCheckpoint extends Checkpoint {
  /** The text that is signed, byte for byte. */
  readonly body: string
  readonly signature: Buffer
  /** The key of the object with its leaves; undefined when it has no leaves. */
  readonly leavesKey: string | undefined
}

/** The `previous` of the first checkpoint. */
export const NO_PREVIOUS = '0'.repeat(64)

const FORMAT = 'starcite-checkpoint'
/** Matches what bodyOf writes, and nothing else. */
const BODY =
  /^\{"format":"starcite-checkpoint\/(?:1(?!.*"discontinuities")|2(?=.*"discontinuities"))","number":([1-9]\d{0,15}),"previous":"([0-9a-f]{64})","root":"([0-9a-f]{64})","leaves":(0|[1-9]\d{0,15})(?:,"discontinuities":([1-9]\d{0,15}))?,"time":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)","key_id":"([0-9a-f]{16})"\}$/

/**
 * The text of a checkpoint: these members, in this order, without white space. A checkpoint without discontinuities
 * has format 1, which has no member for them.
 */
export function bodyOf(it: Checkpoint): string {
  const { number, previous, root, leaves, discontinuities, time, keyId } = it
  const [version, member] = discontinuities > 0 ? [2, `,"discontinuities":${discontinuities}`] : [1, '']
  return `{"format":"${FORMAT}/${version}","number":${number},"previous":"${previous}","root":"${root}","leaves":${leaves}${member},"time":"${time}","key_id":"${keyId}"}`
}

/** Returns undefined when the text does not have that form. */
export function parseBody(body: string): Checkpoint | undefined {
  const found = BODY.exec(body)
  if (found === null) return undefined
  const [, number, previous, root, leaves, discontinuities, time, keyId] = found as unknown as (
    | string
    | undefined
  )[]
  return {
    number: Number(number),
    previous: previous as string,
    root: root as string,
    leaves: Number(leaves),
    discontinuities: Number(discontinuities ?? 0),
    time: time as string,
    keyId: keyId as string,
  }
}

/** The digest that the next checkpoint has as its `previous`. */
export const digestOf = (body: string): string => hash('sha256', body)

/** Keys sort as the numbers do. */
const DIGITS = 12
export const CHECKPOINT_PREFIX = 'checkpoints/v1/'
const CHECKPOINT_KEY = /^checkpoints\/v1\/(\d{12,})\.json$/

export const checkpointKey = (number: number): string =>
  `${CHECKPOINT_PREFIX}${String(number).padStart(DIGITS, '0')}.json`

/** The number of the checkpoint that is stored under a key; undefined for other objects. */
export function numberOfKey(key: string): number | undefined {
  const digits = CHECKPOINT_KEY.exec(key)?.[1]
  return digits === undefined ? undefined : Number(digits)
}

/** The key of an object with leaves. `attempt` is unique, so no attempt meets what another has left. */
export const leavesKey = (number: number, root: string, attempt: string): string =>
  `${CHECKPOINT_PREFIX}${String(number).padStart(DIGITS, '0')}-${root.slice(0, 16)}-${attempt}.leaves.ndjson.gz`

/** The object that holds a checkpoint. */
export function renderCheckpoint({ body, signature, leavesKey: key }: SignedCheckpoint): Buffer {
  const leaves = key === undefined ? '' : `,"leaves_object":${JSON.stringify(key)}`
  return Buffer.from(
    `{"checkpoint":${JSON.stringify(body)},"signature":"${signature.toString('base64')}"${leaves}}\n`,
  )
}

/** Returns undefined when the object is not a checkpoint. */
export function parseCheckpoint(object: Buffer): SignedCheckpoint | undefined {
  let read: Record<string, unknown>
  try {
    read = JSON.parse(object.toString('utf8'))
  } catch {
    return undefined
  }
  const { checkpoint: body, signature, leaves_object } = read ?? {}
  if (typeof body !== 'string' || typeof signature !== 'string') return undefined
  const parsed = parseBody(body)
  if (parsed === undefined) return undefined
  const key = typeof leaves_object === 'string' ? leaves_object : undefined
  return { ...parsed, body, signature: Buffer.from(signature, 'base64'), leavesKey: key }
}
