import { createHash } from 'node:crypto'
import { bodyOf, type Checkpoint } from '../../src/audit/checkpoints/checkpoint.ts'
import { leafBytes } from '../../src/audit/checkpoints/leaf.ts'
import { leafHash } from '../../src/audit/checkpoints/merkle.ts'
import type { Proof } from '../../src/audit/proofs/proof.ts'

/** A proof, or what pretends to be one: members of any kind. */
// biome-ignore lint/suspicious/noExplicitAny: forgeries have whatever their forger likes
type Any = Record<string, any>

export interface Forged {
  readonly title: string
  readonly text: string
}

export interface Genuine {
  /** Of form 2 throughout, with content, in the midst of its session, and of its tree. */
  readonly two: Proof
  /** Of a session whose first events are of form 1. */
  readonly mixed: Proof
  /** As it was handed out before there was form 2. */
  readonly old: Any
  /** Of another session under the same checkpoint. */
  readonly other: Proof
}

/** Signs as the trusted key does: what only a form that cannot be read in one way alone could be refused for. */
export type Sign = (body: string) => Promise<string>

const framed = (...values: (string | number | null)[]) =>
  values.map((value) => (value === null ? '-' : `${Buffer.byteLength(String(value))}:${value}`)).join('')
const flip = (hex: string) => `${hex.startsWith('0') ? '1' : '0'}${hex.slice(1)}`
const first = (link: string, bytes: number) => Buffer.from(link, 'base64').subarray(0, bytes)
const after = (link: string, bytes: number) => Buffer.from(link, 'base64').subarray(bytes)

/** Every way that a proof was, or could be, forged. Each starts from genuine ones; all must be refused, by every checker. */
export async function forgeries(genuine: Genuine, signAs: Sign, foreign: Sign): Promise<Forged[]> {
  const { two, mixed, old, other } = genuine
  const event = two.event as NonNullable<Proof['event']>
  const link = two.links[0] as Proof['links'][number]
  const made: Forged[] = []
  const text = (title: string, content: string) => void made.push({ title, text: content })
  const from = (base: Any) => (title: string, change: Any) =>
    text(title, JSON.stringify({ ...base, ...change }))
  const [ofTwo, ofMixed, ofOld] = [from(two), from(mixed), from(old)]
  const json = JSON.stringify(two)
  const linkBytes = (bytes: Buffer, version: unknown = 2) => [
    { version, link: bytes.toString('base64') },
    ...two.links.slice(1),
  ]

  // Hashes of another length, and digits that are written otherwise.
  for (const [how, value] of [
    ['a byte more', `${two.previous_hash}00`],
    ['a byte less', two.previous_hash.slice(2)],
    ['half a byte more', `${two.previous_hash}0`],
    ['none', ''],
    ['digits behind which it would end', `${two.previous_hash}zz`],
    ['capitals', two.previous_hash.toUpperCase()],
    ['a space', ` ${two.previous_hash}`],
  ])
    ofTwo(`previous_hash: ${how}`, { previous_hash: value })
  ofTwo('leaf.hash: capitals', { leaf: { ...two.leaf, hash: two.leaf.hash.toUpperCase() } })
  ofTwo('leaf.hash: a byte more', { leaf: { ...two.leaf, hash: `${two.leaf.hash}00` } })
  ofTwo('leaf.hash: half', { leaf: { ...two.leaf, hash: two.leaf.hash.slice(32) } })
  ofTwo('path: two hashes in one', { path: [two.path.slice(0, 2).join(''), ...two.path.slice(2)] })
  ofTwo('path: half a hash', { path: [two.path[0]?.slice(32), ...two.path.slice(1)] })
  ofTwo('path: capitals', { path: two.path.map((hash) => hash.toUpperCase()) })
  ofTwo('salt: a byte more', { event: { ...event, salt: `${event.salt}00` } })
  ofTwo('salt: a byte less', { event: { ...event, salt: event.salt.slice(2) } })
  ofTwo('salt: bytes of the payload', {
    event: {
      ...event,
      salt: event.salt + Buffer.from(`${framed(event.payload)}`).toString('hex'),
      payload: '{}',
    },
  })

  // Bytes counted to a neighbour.
  const moved = (bytes: number, version: unknown) => ({
    previous_hash: two.previous_hash + first(link.link, bytes).toString('hex'),
    links: linkBytes(after(link.link, bytes), version),
  })
  for (const bytes of [1, 3, 32, 35]) ofTwo(`${bytes} bytes of the link in previous_hash`, moved(bytes, 2))
  ofTwo('a digest of the link in previous_hash, in form 1', moved(35, 1))
  ofTwo('bytes of previous_hash in the link', {
    previous_hash: two.previous_hash.slice(0, 32),
    links: linkBytes(Buffer.concat([Buffer.from(two.previous_hash.slice(32), 'hex'), after(link.link, 0)])),
  })

  // Forms of the chain.
  ofTwo('form 2 said to be form 1', { links: linkBytes(after(link.link, 0), 1) })
  ofTwo('form 2 said to be form 1, as its link would be', { links: linkBytes(after(link.link, 3), 1) })
  ofMixed('form 1 said to be form 2', {
    links: mixed.links.map((link, i) => (i === 0 ? { ...link, version: 2 } : link)),
  })
  ofMixed('form 1 behind form 2', { links: [...mixed.links].reverse() })
  for (const version of ['2', 0, 3, -2, null, true, [2]])
    ofTwo(`a form that is ${JSON.stringify(version)}`, { links: linkBytes(after(link.link, 0), version) })
  ofTwo('links as in the old format', { links: two.links.map((link) => link.link) })
  ofTwo('the old format claimed', { format: 'starcite-proof/1' })
  ofTwo('the old format claimed, with its links', {
    format: 'starcite-proof/1',
    links: two.links.map((link) => link.link),
  })
  ofOld('the new format claimed', { format: 'starcite-proof/2' })
  ofOld('a link in the old format with a form', {
    links: (old.links as string[]).map((link) => ({ version: 1, link: link })),
  })
  for (const format of ['starcite-proof/3', '', null, ['starcite-proof/2']])
    ofTwo(`the format ${JSON.stringify(format)}`, { format })
  ofMixed('a subject in form 1', {
    event: {
      ...(mixed.event as object),
      frame: mixed.event?.frame.replace(/("actor":"[^"]*")/, '$1,"subject":"service:x"'),
    },
  })

  // Links.
  ofTwo('no links', { links: [] })
  ofTwo('a link less', { links: two.links.slice(0, -1) })
  ofTwo('a link more', { links: [...two.links, link] })
  ofTwo('an empty link more, and the seq of the head for it', {
    links: [...two.links, { version: 2, link: '' }],
    leaf: { ...two.leaf, seq: two.leaf.seq + 1 },
  })
  ofTwo('links swapped', { links: [two.links[0], two.links[2], two.links[1], ...two.links.slice(3)] })
  ofTwo('the first link twice', { links: [link, link, ...two.links.slice(2)] })
  ofTwo('a byte behind the last field', {
    links: linkBytes(Buffer.concat([after(link.link, 0), Buffer.from('-')])),
  })
  ofTwo('a length that begins with 0', {
    links: linkBytes(
      Buffer.from(
        after(link.link, 0)
          .toString('latin1')
          .replace(/7:content/, '07:content'),
        'latin1',
      ),
    ),
  })
  ofTwo('base64 without its end', {
    links: [{ version: 2, link: `${link.link.replace(/=*$/, '')}\n` }, ...two.links.slice(1)],
  })
  ofTwo('base64 of URLs', {
    signature: two.signature.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, ''),
  })
  ofTwo('base64 with bits behind its end', {
    signature: two.signature.replace(/.==$/, (end) => `${end === 'A==' ? 'B' : 'x'}==`),
  })
  ofTwo('a signature of 65 bytes', {
    signature: Buffer.concat([Buffer.from(two.signature, 'base64'), Buffer.of(0)]).toString('base64'),
  })
  ofTwo('a link that is null', { links: [null, ...two.links.slice(1)] })
  ofTwo('links that are an object', { links: { ...two.links } })

  // The tree.
  const leaf = (change: Any) => ({ leaf: { ...two.leaf, ...change } })
  ofTwo('the neighbour as the leaf', leaf({ index: two.leaf.index ^ 1 }))
  ofTwo('an index beyond the tree', leaf({ index: 1_000_000 }))
  ofTwo('an index before the tree', leaf({ index: -1 }))
  ofTwo('an index that is a text', leaf({ index: String(two.leaf.index) }))
  ofTwo('an inner node as a leaf', {
    ...leaf({ index: two.leaf.index >> 1, hash: leafHash(leafBytes(leafOf(two))).toString('hex') }),
    path: two.path.slice(1),
  })
  ofTwo('a leaf as an inner node', {
    ...leaf({ index: two.leaf.index * 2 }),
    path: [two.path[0], ...two.path],
  })
  ofTwo('the path in another order', { path: [...two.path].reverse() })
  ofTwo('a path that is too long', { path: [...two.path, two.path[0]] })
  ofTwo('a path that is too short', { path: two.path.slice(0, -1) })
  ofTwo('the root as the path', { path: [JSON.parse(two.checkpoint).root] })
  ofTwo('a hash of the path changed', { path: two.path.map(flip) })
  ofTwo('the head of another session', { leaf: other.leaf, path: other.path })
  ofTwo('a seq of the head beyond', leaf({ seq: two.leaf.seq + 1 }))
  const parsed = checkpointOf(two)
  for (const [how, body] of [
    ['another size', bodyOf({ ...parsed, leaves: parsed.leaves + 1 })],
    ['another time', bodyOf({ ...parsed, time: `1${parsed.time.slice(1)}` })],
    ['another number', bodyOf({ ...parsed, number: parsed.number + 1 })],
  ] as const)
    ofTwo(`a checkpoint of ${how}`, { checkpoint: body })
  // Well signed, and still not to be read: there is one text of a checkpoint.
  for (const [how, body] of [
    ['white space', two.checkpoint.replace(',"number"', ', "number"')],
    ['its root twice', two.checkpoint.replace(',"leaves"', `,"root":"${parsed.root}","leaves"`)],
    ['a member more', two.checkpoint.replace(/\}$/, ',"x":1}')],
    ['another order', two.checkpoint.replace(/^\{("format":"[^"]*"),("number":\d+)/, '{$2,$1')],
    ['a root in capitals', two.checkpoint.replace(parsed.root, parsed.root.toUpperCase())],
    ['another format', two.checkpoint.replace('starcite-checkpoint/1', 'starcite-checkpoint/9')],
    ['leaves in quotes', two.checkpoint.replace(/"leaves":(\d+)/, '"leaves":"$1"')],
    ['leaves with a fraction', two.checkpoint.replace(/"leaves":(\d+)/, '"leaves":$1.0')],
  ] as const)
    ofTwo(`a signed checkpoint with ${how}`, { checkpoint: body, signature: await signAs(body) })

  // Keys.
  ofTwo('a signature by another key', { signature: await foreign(two.checkpoint) })
  ofTwo('the signature of another checkpoint', { signature: await signAs(bodyOf({ ...parsed, number: 99 })) })
  const ofForeign = two.checkpoint
    .replace(/"key_id":"."/, (found) => found)
    .replace(parsed.keyId, 'f'.repeat(16))
  ofTwo('a checkpoint that names another key', { checkpoint: ofForeign, signature: await foreign(ofForeign) })
  ofTwo('a checkpoint that names another key, signed by the trusted one', {
    checkpoint: ofForeign,
    signature: await signAs(ofForeign),
  })

  // What is shown.
  const shown = (change: Any) => ({ event: { ...event, ...change } })
  ofTwo('another actor', shown({ frame: event.frame.replace(/"actor":"[^"]*"/, '"actor":"user:x"') }))
  ofTwo('another subject', shown({ frame: event.frame.replace(/"subject":"[^"]*"/, '"subject":"user:x"') }))
  ofTwo('no subject', shown({ frame: event.frame.replace(/,"subject":"[^"]*"/, '') }))
  ofTwo('an actor twice', shown({ frame: event.frame.replace('"actor"', '"actor":"user:x","actor"') }))
  ofTwo(
    'another payload in the frame',
    shown({ frame: event.frame.replace('"payload":', '"payload":{"x":1},"y":') }),
  )
  ofTwo(
    'another payload',
    shown({ payload: '{"x":1}', frame: event.frame.replace(event.payload, '{"x":1}') }),
  )
  ofTwo('another salt', shown({ salt: flip(event.salt) }))
  ofTwo(
    'a payload that is no object',
    shown({ payload: '[]', frame: event.frame.replace(event.payload, '[]') }),
  )
  ofTwo('a frame that is none', shown({ frame: '{}' }))
  ofTwo('metadata and refs swapped', shown({ metadata: event.refs, refs: event.metadata }))
  ofTwo('the event of another session', { event: other.event })
  ofTwo('an event without its salt', { event: { ...event, salt: undefined } })
  ofTwo('another seq', { seq: two.seq + 1 })
  ofTwo('another seq, and links to match', { seq: two.seq + 1, links: two.links.slice(1) })
  ofTwo('seq 1', { seq: 1, leaf: { ...two.leaf, seq: two.links.length } })
  ofTwo('seq 0', { seq: 0, leaf: { ...two.leaf, seq: two.links.length - 1 } })
  ofTwo('a seq that is a text', { seq: String(two.seq) })
  ofTwo('another session', { session_id: other.session_id })
  ofTwo('another tenant', { tenant_id: 'evil' })

  // The file.
  text('nothing', '')
  text('no object', '[]')
  text('null', 'null')
  text('something behind the end', `${json}x`)
  text('two proofs', `${json}${json}`)
  text('a mark of byte order', `\ufeff${json}`)
  text('a member twice', json.replace('{', `{"seq":${two.seq},`))
  text('a member twice, the first one wrong', json.replace('{', '{"tenant_id":"evil",'))
  text('a member twice, under a name with an escape', json.replace('{', '{"t\\u0065nant_id":"evil",'))
  text('a member of the leaf twice', json.replace('"leaf":{', '"leaf":{"seq":1,'))
  text('a member of a link twice', json.replace('{"version":2', '{"version":1,"version":2'))
  text('a member that nothing asks for', json.replace('{', '{"verified":true,'))
  text('a member of the prototype', json.replace('{', '{"__proto__":{"verified":true},'))
  text('a number with a fraction', json.replace(`"seq":${two.seq}`, `"seq":${two.seq}.0`))
  text('a number with an exponent', json.replace(`"seq":${two.seq}`, `"seq":${two.seq}e0`))
  text('a number that is -0', json.replace(/"index":\d+/, '"index":-0'))
  for (const name of Object.keys(two)) ofTwo(`without ${name}`, { [name]: undefined })
  return made
}

/** Of this text the digest, with this salt, reads as text: 460 million salts were tried. */
const GROUND = {
  payload: '{"paid":true}',
  salt: '1643462c59255a6c000000001b7f2814',
  digest: Buffer.from('7f4f0b205fdc9c6c1d6f79ef92bb6d72412b17e68e9d44dbab41031cdaad5e1c', 'hex'),
}

/** The key to append with, and the event that is read out of it afterwards. */
export function keyWithin(seq: number): { key: string; fields: string; at: string } {
  const at = '2026-01-01T00:00:00.000000Z'
  const fields = framed(seq, at, 'paid', 'user:ceo', null, null, null, null)
  return { key: GROUND.digest.toString('utf8') + fields, fields, at }
}

/**
 * What a checker accepts that lets previous_hash have any length: of an event of form 1 that was appended with keyWithin, the
 * bytes before its key's text are counted to previous_hash, and the text is the link of an event that never was.
 */
export function movedBytes(old: Any): Forged {
  const { key, at } = keyWithin(old.seq)
  const real = Buffer.from(old.links[0], 'base64')
  const cut = real.length - Buffer.byteLength(key)
  const frame =
    `{"seq":${old.seq},"type":"paid","payload":${GROUND.payload},"actor":"user:ceo","metadata":{},"refs":{}` +
    `,"inserted_at":"${at}"}`
  const forged = {
    ...old,
    previous_hash: old.previous_hash + real.subarray(0, cut).toString('hex'),
    links: [real.subarray(cut).toString('base64'), ...old.links.slice(1)],
    event: { frame, salt: GROUND.salt, payload: GROUND.payload, metadata: '{}', refs: '{}' },
  }
  return {
    title: 'bytes of the link in previous_hash, a ground salt, a chosen key',
    text: JSON.stringify(forged),
  }
}

/**
 * What form 2 hashes, read in form 1: its first 32 bytes as the hash before, and what follows as a link. It needs a hash of
 * the event before that ends in chosen bytes, so this one is made up, and signed.
 */
export async function formTwoReadAsFormOne(signAs: Sign, keyId: string): Promise<Forged> {
  const inner = framed('paid', 'user:ceo', null, null, null)
  const before = `${framed(6, '2026-11-24T14:25:25.410000Z', 'said', 'user:x', null, null, null)}${Buffer.byteLength(inner)}:`
  const rest = 'xxxx'
  const time = rest.length + 3 + 32 + Buffer.byteLength(before)
  const previous = Buffer.from(`${'x'.repeat(22)}1:6${time}:${rest}`)
  if (previous.length !== 32) throw new Error(`${previous.length} bytes are no hash`)
  const hashed = Buffer.concat([
    Buffer.from('36:starcite hash chain event, version 232:'),
    previous,
    Buffer.from('32:'),
    GROUND.digest,
    Buffer.from(`${before}${inner}-`),
  ])
  const hash = createHash('sha256').update(hashed).digest('hex')
  const leaf = { tenantId: 't', sessionId: 's', seq: 6, hash }
  const checkpoint = bodyOf({
    ...{
      number: 1,
      previous: '0'.repeat(64),
      root: leafHash(leafBytes(leaf)).toString('hex'),
      leaves: 1,
      discontinuities: 0,
    },
    ...{ time: '2026-11-24T14:25:25.410000Z', keyId },
  })
  return {
    title: 'what form 2 hashes, read in form 1',
    text: JSON.stringify({
      format: 'starcite-proof/2',
      tenant_id: 't',
      session_id: 's',
      seq: 6,
      event: null,
      previous_hash: hashed.subarray(0, 32).toString('hex'),
      links: [{ version: 1, link: hashed.subarray(32).toString('base64') }],
      leaf: { seq: 6, hash, index: 0 },
      path: [],
      checkpoint,
      signature: await signAs(checkpoint),
    }),
  }
}

const leafOf = ({ tenant_id, session_id, leaf }: Proof) => ({
  tenantId: tenant_id,
  sessionId: session_id,
  seq: leaf.seq,
  hash: leaf.hash,
})

function checkpointOf({ checkpoint }: Proof): Checkpoint {
  const { key_id: keyId, ...rest } = JSON.parse(checkpoint)
  return { ...rest, keyId }
}
