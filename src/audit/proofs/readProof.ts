import { expect, ProofError } from './errors.ts'
import { OLD_PROOF_FORMAT, PROOF_FORMAT, type Proof, type ProofLink } from './proof.ts'

const HASH = /^[0-9a-f]{64}$/
const SALT = /^[0-9a-f]{32}$/
const SIGNATURE_BYTES = 64

type Members = Readonly<Record<string, unknown>>

/**
 * Reads a proof, and refuses everything that prove() would not have written: other members, duplicate members,
 * upper-case digits, hashes of another length, numbers out of range. An accepted file can be read in one way only.
 * Throws a ProofError.
 */
export function readProof(text: string): Proof {
  const proof = membersOf(text)
  const isOld = proof.format === OLD_PROOF_FORMAT
  expect(isOld || proof.format === PROOF_FORMAT, `the file is not a proof of the format ${PROOF_FORMAT}`)
  const whole = [
    'format',
    'tenant_id',
    'session_id',
    'seq',
    'event',
    'previous_hash',
    'links',
    'leaf',
    'path',
  ]
  onlyHas(proof, 'the proof', [...whole, 'checkpoint', 'signature'])
  const { seq, event, links, path } = proof
  const leaf = object(proof.leaf, 'leaf')
  const hasDiscontinuity = Object.hasOwn(leaf, 'discontinuity') && !isOld
  onlyHas(leaf, 'leaf', ['seq', 'hash', 'index', ...(hasDiscontinuity ? ['discontinuity'] : [])])
  if (hasDiscontinuity) checkDiscontinuity(object(leaf.discontinuity, 'discontinuity'))
  expect(isText(proof.tenant_id) && isText(proof.session_id), 'tenant_id and session_id must be texts')
  expect(
    isCount(seq, 1) && isCount(leaf.seq, seq),
    'seq and leaf.seq must be numbers of events, in this order',
  )
  expect(isCount(leaf.index, 0), 'leaf.index must be the number of a leaf')
  expect(isHash(proof.previous_hash) && isHash(leaf.hash), 'previous_hash and leaf.hash must be hashes')
  expect(Array.isArray(path) && path.every(isHash), 'path must be a list of hashes')
  expect(isText(proof.checkpoint), 'checkpoint must be a text')
  const signature = bytesOf(proof.signature)
  expect(signature?.length === SIGNATURE_BYTES, `signature must be ${SIGNATURE_BYTES} bytes in base64`)
  expect(Array.isArray(links), 'links must be a list')
  expect(links.length === leaf.seq - seq + 1, 'the links do not lead from the event to the head')
  if (event !== null) checkEvent(object(event, 'event'))
  return { ...(proof as unknown as Proof), links: links.map((it) => linkOf(it, isOld)) }
}

function membersOf(text: string): Members {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new ProofError('the file is not JSON', { cause })
  }
  const proof = object(value, 'the file')
  // JSON.parse keeps the last of several members with one name, and another reader may keep the first.
  const bare = text.replaceAll(/"(?:[^"\\]|\\.)*"/g, '').replaceAll('null', '')
  expect(bare.split(':').length - 1 === countMembers(proof), 'a member occurs twice')
  expect(/^[\s\d[\]{},:]*$/.test(bare), 'a number is not written in digits alone')
  return proof
}

function countMembers(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  const own = Array.isArray(value) ? 0 : Object.keys(value).length
  return Object.values(value).reduce((sum: number, it) => sum + countMembers(it), own)
}

function linkOf(value: unknown, isOld: boolean): ProofLink {
  const { version, link } = isOld ? { version: 1 as const, link: value } : linkMembers(value)
  expect(bytesOf(link) !== undefined, 'a link must be in base64')
  return { version, link: link as string }
}

function linkMembers(value: unknown): { version: 1 | 2; link: unknown } {
  const members = object(value, 'a link')
  onlyHas(members, 'a link', ['version', 'link'])
  const { version, link } = members
  expect(version === 1 || version === 2, 'the version of a link must be 1 or 2')
  return { version, link }
}

function checkDiscontinuity(it: Members): void {
  onlyHas(it, 'discontinuity', ['number', 'seq', 'hash', 'reason'])
  expect(isCount(it.number, 1) && isCount(it.seq, 1), 'discontinuity must name a checkpoint and a seq')
  expect(isHash(it.hash) && isText(it.reason), 'discontinuity must have a hash and a reason')
}

function checkEvent(event: Members): void {
  onlyHas(event, 'event', ['frame', 'salt', 'payload', 'metadata', 'refs'])
  expect(isText(event.salt) && SALT.test(event.salt), 'the salt must be 16 bytes')
  expect(isText(event.frame), 'the frame must be a text')
  for (const name of ['payload', 'metadata', 'refs'])
    expect(isJsonObject(event[name]), `${name} must be the text of a JSON object`)
}

function onlyHas(members: Members, where: string, names: readonly string[]): void {
  const strange = Object.keys(members).find((it) => !names.includes(it))
  expect(strange === undefined, `${where} has a member that it must not have`)
  const missing = names.find((it) => !Object.hasOwn(members, it))
  expect(missing === undefined, `${where} has no ${missing}`)
}

function object(value: unknown, where: string): Members {
  expect(typeof value === 'object' && value !== null && !Array.isArray(value), `${where} is not an object`)
  return value as Members
}

const isText = (value: unknown): value is string => typeof value === 'string' && value.isWellFormed()
const isHash = (value: unknown): value is string => typeof value === 'string' && HASH.test(value)
const isCount = (value: unknown, from: number): value is number =>
  Number.isSafeInteger(value) && (value as number) >= from

/** Undefined when the text is not the canonical base64 of some bytes. */
function bytesOf(value: unknown): Buffer | undefined {
  if (typeof value !== 'string') return undefined
  const bytes = Buffer.from(value, 'base64')
  return bytes.toString('base64') === value ? bytes : undefined
}

function isJsonObject(value: unknown): boolean {
  try {
    const parsed = JSON.parse(value as string)
    return (
      typeof value === 'string' && typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)
    )
  } catch {
    return false
  }
}
