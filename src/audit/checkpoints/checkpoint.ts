import { hash } from 'node:crypto'

/** A signed statement of where the logs of sessions ended; docs/proofs.md describes it for those who have none of this. */
export interface Checkpoint {
  /** 1, 2, 3 … */
  readonly number: number
  /** The digest of the body before, in lower-case hexadecimal. */
  readonly previous: string
  /** Of the Merkle tree over the leaves; the same. */
  readonly root: string
  readonly leaves: number
  /** Leaves that record an acknowledged discontinuity; 0 as a rule. */
  readonly discontinuities: number
  /** RFC 3339, UTC, six fractional digits. */
  readonly time: string
  readonly keyId: string
}

/** A checkpoint as it is kept and handed out. */
export interface SignedCheckpoint extends Checkpoint {
  /** What is signed, byte for byte. */
  readonly body: string
  readonly signature: Buffer
  /** The object with its leaves; undefined when there are none. */
  readonly leavesKey: string | undefined
}

/** What stands for the checkpoint before the first. */
export const NO_PREVIOUS = '0'.repeat(64)

const FORMAT = 'starcite-checkpoint'
/** What bodyOf writes, and nothing else. */
const BODY =
  /^\{"format":"starcite-checkpoint\/(?:1(?!.*"discontinuities")|2(?=.*"discontinuities"))","number":([1-9]\d{0,15}),"previous":"([0-9a-f]{64})","root":"([0-9a-f]{64})","leaves":(0|[1-9]\d{0,15})(?:,"discontinuities":([1-9]\d{0,15}))?,"time":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)","key_id":"([0-9a-f]{16})"\}$/

/**
 * The one text of a checkpoint: these members, in this order, without white space. One without discontinuities is of the first
 * format, which has no member for them.
 */
export function bodyOf(it: Checkpoint): string {
  const { number, previous, root, leaves, discontinuities, time, keyId } = it
  const [version, member] = discontinuities > 0 ? [2, `,"discontinuities":${discontinuities}`] : [1, '']
  return `{"format":"${FORMAT}/${version}","number":${number},"previous":"${previous}","root":"${root}","leaves":${leaves}${member},"time":"${time}","key_id":"${keyId}"}`
}

/** Undefined when it is not such a text. */
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

/** What the next checkpoint calls the previous one. */
export const digestOf = (body: string): string => hash('sha256', body)

/** Keys sort as the numbers do. */
const DIGITS = 12
export const CHECKPOINT_PREFIX = 'checkpoints/v1/'
const CHECKPOINT_KEY = /^checkpoints\/v1\/(\d{12,})\.json$/

export const checkpointKey = (number: number): string =>
  `${CHECKPOINT_PREFIX}${String(number).padStart(DIGITS, '0')}.json`

/** The number of the checkpoint that is kept under a key; undefined when it is another kind of object. */
export function numberOfKey(key: string): number | undefined {
  const digits = CHECKPOINT_KEY.exec(key)?.[1]
  return digits === undefined ? undefined : Number(digits)
}

/** No two attempts choose the same `attempt`, so none meets what another has left. */
export const leavesKey = (number: number, root: string, attempt: string): string =>
  `${CHECKPOINT_PREFIX}${String(number).padStart(DIGITS, '0')}-${root.slice(0, 16)}-${attempt}.leaves.ndjson.gz`

/** The object that holds a checkpoint. */
export function renderCheckpoint({ body, signature, leavesKey: key }: SignedCheckpoint): Buffer {
  const leaves = key === undefined ? '' : `,"leaves_object":${JSON.stringify(key)}`
  return Buffer.from(
    `{"checkpoint":${JSON.stringify(body)},"signature":"${signature.toString('base64')}"${leaves}}\n`,
  )
}

/** Undefined when it is not one. */
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
