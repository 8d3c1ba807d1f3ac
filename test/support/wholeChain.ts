import { createHash } from 'node:crypto'
import type pg from 'pg'
import type { ObjectStore } from '../../src/objects/objectStore.ts'
import { linesOfStore } from './residue.ts'

interface Link {
  readonly seq: number
  readonly salt: string | null
  readonly content: readonly (string | null)[]
  readonly contentDigest: string
  readonly hash: string
  readonly chainVersion: number
  /** Every field but the content, in the order of the chain. */
  readonly fields: readonly (string | number | null | undefined)[]
}

const framed = (value: unknown) =>
  value === null || value === undefined ? '-' : `${Buffer.byteLength(String(value))}:${value}`
const sha256 = (...parts: (string | Buffer)[]) =>
  parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest()

/**
 * What is wrong with a session's chain over both tiers, reckoned here from what docs/archive-format.md says: holes, hashes
 * that do not follow, digests that are not those of the content there is, an end that is not the head's.
 */
export async function faultsOfChain(db: pg.Client, store: ObjectStore, sid: string): Promise<string[]> {
  const { rows } = await db.query(
    `select s.tenant_id, s.id, h.last_seq, encode(h.chain_hash, 'hex') as head
       from starcite.sessions s join starcite.session_heads h using (sid) where s.sid = $1`,
    [sid],
  )
  const { tenant_id: tenant, id, last_seq: lastSeq, head } = rows[0]
  const links = [...(await coldLinks(db, store, sid)), ...(await hotLinks(db, sid))].sort(
    (a, b) => a.seq - b.seq,
  )
  const faults: string[] = []
  let hash = sha256(`starcite/1${framed(tenant)}${framed(id)}`)
  let version = 1
  for (const [i, link] of links.entries()) {
    if (link.seq !== i + 1) faults.push(`${link.seq} stands at ${i + 1}`)
    const digest = Buffer.from(link.contentDigest, 'hex')
    const fields = link.fields.map(framed).join('')
    if (link.chainVersion < version) faults.push(`${link.seq} is of an older form than the one before`)
    version = link.chainVersion
    hash =
      version === 1
        ? sha256(hash, digest, fields)
        : sha256(framed('starcite hash chain event, version 2'), '32:', hash, '32:', digest, fields)
    if (hash.toString('hex') !== link.hash) faults.push(`the hash of ${link.seq}`)
    if (link.salt === null) {
      if (link.content.some((value) => value !== null)) faults.push(`${link.seq} has content without a salt`)
    } else if (
      sha256(Buffer.from(link.salt, 'hex'), link.content.map(framed).join('')).toString('hex') !==
      link.contentDigest
    )
      faults.push(`the digest of ${link.seq}`)
  }
  if (links.length !== Number(lastSeq) || hash.toString('hex') !== head) faults.push('the head')
  return faults
}

async function hotLinks(db: pg.Client, sid: string): Promise<Link[]> {
  const { rows } = await db.query(
    `select e.*, encode(e.salt, 'hex') as salt, encode(e.content_digest, 'hex') as digest, encode(e.hash, 'hex') as hash,
            starcite.wire_time(e.inserted_at) as at
       from starcite.events e where e.sid = $1`,
    [sid],
  )
  return rows.map((row) => ({
    seq: Number(row.seq),
    salt: row.salt,
    content: [row.payload, row.metadata, row.refs],
    contentDigest: row.digest,
    hash: row.hash,
    chainVersion: row.chain_version,
    fields: [
      row.seq,
      row.at,
      row.type,
      row.actor,
      row.source,
      row.producer_id,
      row.producer_seq,
      row.idempotency_key,
      ...(row.chain_version === 1 ? [] : [row.subject]),
    ],
  }))
}

/** Lines that the manifest shows to readers. */
async function coldLinks(db: pg.Client, store: ObjectStore, sid: string): Promise<Link[]> {
  const { rows } = await db.query<{ key: string; id: string }>(
    `select distinct o.key, n.id
       from starcite.slices s join starcite.objects o using (object_id) join starcite.sessions n using (sid)
       join starcite.segments g on g.name = o.segment and g.state in ('moved', 'dropped')
      where s.sid = $1`,
    [sid],
  )
  const lines = await linesOfStore(store)
  return rows.flatMap(({ key, id }) =>
    (lines.get(key) ?? []).flatMap((line) => {
      const event = JSON.parse(line)
      if (event.session_id !== id) return []
      return {
        seq: event.seq as number,
        salt: event.salt as string | null,
        content:
          event.salt === null ? [event.redacted ? null : 'content'] : contentTexts(line, event.line_feeds),
        contentDigest: event.content_digest as string,
        hash: event.hash as string,
        chainVersion: event.chain_version ?? 1,
        fields: [
          event.seq,
          event.inserted_at,
          event.type,
          event.actor,
          event.source,
          event.producer_id,
          event.producer_seq,
          event.idempotency_key,
          ...(event.chain_version === undefined ? [] : [event.subject]),
        ],
      }
    }),
  )
}

/** Payload, metadata and refs as they were sent. */
function contentTexts(line: string, lineFeeds: readonly number[] = []): string[] {
  const bytes = Buffer.from(line)
  for (const offset of lineFeeds) bytes[offset] = 0x0a
  const text = bytes.toString()
  const between = (from: string, to: string, start = 0) => {
    const begin = text.indexOf(from, start) + from.length
    return text.slice(begin, text.lastIndexOf(to))
  }
  const payload = between(',"payload":', ',"actor":')
  const rest = text.lastIndexOf('},"refs":')
  const metadata = text.slice(text.lastIndexOf(',"metadata":', rest) + ',"metadata":'.length, rest + 1)
  const refs = text.slice(rest + '},"refs":'.length, text.lastIndexOf(',"inserted_at":'))
  return [payload, metadata, refs]
}
