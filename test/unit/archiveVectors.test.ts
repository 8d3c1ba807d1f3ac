import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import path from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { expect } from 'chai'
import { chainStep, contentDigest, eventLink, genesisHash, lengthPrefixed } from '../../src/archive/chain.ts'
import { EventHasher } from '../../src/archive/eventHasher.ts'
import { archiveLine, redactLine, renderedEventOfLine } from '../../src/archive/line.ts'
import { keyPrefix, objectKey, partsOf } from '../../src/archive/objectKey.ts'
import { SessionChain } from '../../src/archive/sessionChain.ts'
import { linesOfSlice, unpackSlice } from '../../src/archive/slice.ts'
import type { Finding } from '../../src/audit/finding.ts'
import { verifyCopy } from '../../src/audit/verify/verifyCopy.ts'
import { RenderedEvent, renderEvent } from '../../src/protocol/event.ts'
import { archivedLines, VECTORS, type VectorEvent, type VectorObject } from '../support/archiveVectors.ts'
import { makeScratch } from '../support/scratch.ts'

/** The script of the page, as a reader would save it. */
const SCRIPT = /```js\n(\/\/ node check-object\.mjs[\s\S]*?)```/.exec(
  readFileSync(new URL('../../docs/archive-format.md', import.meta.url), 'utf8'),
)?.[1] as string

const storedOf = (event: VectorEvent) => ({
  chainVersion: event.chain_version,
  seq: event.seq,
  insertedAt: event.inserted_at,
  type: event.type,
  actor: event.actor,
  subject: event.subject,
  source: event.source,
  producerId: event.producer_id,
  producerSeq: event.producer_seq,
  idempotencyKey: event.idempotency_key,
  payload: event.payload,
  metadata: event.metadata,
  refs: event.refs,
})

describe('docs/archive-vectors.json', () => {
  let copy: string

  before(async () => {
    copy = await makeScratch('archiveVectors')
    for (const { key, body } of VECTORS.objects) {
      mkdirSync(path.join(copy, path.dirname(key)), { recursive: true })
      writeFileSync(path.join(copy, key), Buffer.from(body, 'base64'))
    }
    writeFileSync(path.join(copy, 'check-object.mjs'), SCRIPT)
  })

  after(() => rm(copy, { recursive: true, force: true }))

  it('has the digests, links and hashes that src/archive/chain.ts computes', () => {
    for (const { value, text } of VECTORS.length_prefixed) expect(lengthPrefixed(value)).to.equal(text)
    for (const { tenant_id, session_id, genesis_hash, events } of VECTORS.sessions) {
      let hash = genesisHash(tenant_id, session_id)
      expect(hash.toString('hex')).to.equal(genesis_hash)
      for (const event of events) {
        const salt = Buffer.from(event.salt, 'hex')
        const digest = contentDigest(salt, event.payload, event.metadata, event.refs)
        const link = eventLink({ ...storedOf(event), contentDigest: digest })
        hash = chainStep(event.chain_version, hash, link)

        const computed = [digest, link, hash].map((bytes) => bytes.toString('hex'))
        expect(computed).to.deep.equal([event.content_digest, event.link, event.hash])
      }
    }
  })

  it('has the lines that src/archive/line.ts writes, and reads back', () => {
    for (const { session_id, events } of VECTORS.sessions)
      for (const event of events) {
        const rendered = renderEvent(storedOf(event))
        const { salt, content_digest, hash, chain_version: chainVersion } = event
        const line = archiveLine(session_id, {
          ...{ rendered, salt, contentDigest: content_digest, hash, chainVersion },
        })

        expect(rendered.text).to.equal(event.rendered)
        expect(line).to.equal(`${event.line}\n`)
        expect(renderedEventOfLine(event.line, event.seq)).to.deep.equal(
          new RenderedEvent(event.seq, event.rendered),
        )
        if (event.line_once_erased) expect(redactLine(event.line, event.seq)).to.equal(event.line_once_erased)
      }
  })

  it('has lines in which src/archive/sessionChain.ts finds nothing wrong, until one byte is changed', () => {
    for (const { tenant_id, session_id, events } of VECTORS.sessions) {
      const text = events.map(({ line }) => `${line}\n`).join('')
      const problemOf = (changed: string) =>
        new SessionChain(new EventHasher(), tenant_id, session_id).add(Buffer.from(changed))

      expect(problemOf(text)).to.equal(undefined)
      for (const { seq, hash } of events)
        expect(problemOf(text.replace(`"hash":"${hash.slice(0, 8)}`, '"hash":"00000000'))).to.include({ seq })
    }
  })

  it('has the keys that src/archive/objectKey.ts makes, and takes apart', () => {
    for (const { tenant_id: tenant, segment, sha256, key } of VECTORS.object_keys) {
      expect(objectKey(segment, { tenantId: tenant, sha256: Buffer.from(sha256, 'hex') })).to.equal(key)
      expect(key.startsWith(keyPrefix(segment, tenant))).to.equal(true)
      expect(partsOf(key)).to.deep.equal({ tenant, segment, sha256 })
    }
  })

  it('has objects whose slices src/archive/slice.ts opens', async () => {
    for (const { body, sha256, slices } of VECTORS.objects) {
      const bytes = Buffer.from(body, 'base64')
      expect(createHash('sha256').update(bytes).digest('hex')).to.equal(sha256)
      for (const slice of slices) {
        const member = bytes.subarray(slice.byte_offset, slice.byte_offset + slice.bytes)
        const lines = archivedLines(slice.session_id, slice.first_seq, slice.last_seq)

        expect(createHash('sha256').update(member).digest('hex')).to.equal(slice.sha256)
        expect(await linesOfSlice(member, slice.first_seq, slice.last_seq)).to.deep.equal(lines)
        expect(await unpackSlice(member, slice.first_seq, slice.last_seq)).to.have.lengthOf(lines.length)
      }
    }
  })

  it('has objects in which `starcite audit verify --from` finds nothing wrong', async () => {
    const findings: Finding[] = []
    const { signal } = new AbortController()
    const verified = await verifyCopy({
      ...{ directory: copy, signal, scope: {} },
      onFinding: (finding) => findings.push(finding),
    })

    expect(findings).to.deep.equal([])
    expect(verified).to.include({ sessions: 2, events: 7, redacted: 1, files: 2 })
  })

  it('has objects that the script of docs/archive-format.md checks with nothing of ours', () => {
    const check = (key: string) =>
      execFileSync(process.execPath, [path.join(copy, 'check-object.mjs'), path.join(copy, key)], {
        encoding: 'utf8',
      })

    expect(VECTORS.objects.map(({ key }) => check(key))).to.deep.equal([
      'GOOD: "ses_demo" 1 to 4\n',
      'GOOD: "sés:1-\\"x\\"" 1 to 3\n',
    ])

    const [{ key, body }] = VECTORS.objects as [VectorObject]
    const changed = gzipSync(gunzipSync(Buffer.from(body, 'base64')).toString().replace('Hello', 'Hullo'))
    const name = `${createHash('sha256').update(changed).digest('hex')}.ndjson.gz`
    writeFileSync(path.join(copy, path.dirname(key), name), changed)
    expect(() => check(path.join(path.dirname(key), name)))
      .to.throw()
      .with.property('stdout', 'WRONG: ses_demo 1: the content was changed\n')
  })
})
