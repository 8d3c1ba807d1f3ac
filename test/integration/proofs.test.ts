import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import path from 'node:path'
import { expect } from 'chai'
import { acknowledgeContradictions } from '../../src/audit/checkpoints/acknowledgementQueries.ts'
import { localSigner, trustedKeys } from '../../src/audit/checkpoints/signer.ts'
import { checkProof } from '../../src/audit/proofs/check.ts'
import type { Proof } from '../../src/audit/proofs/proof.ts'
import { prove } from '../../src/audit/proofs/prove.ts'
import { newKey, takeCheckpoint } from '../support/checkpoints.ts'
import { makeScratch } from '../support/scratch.ts'
import { someEvents, TieringLab } from '../support/tiering.ts'

const { signer, publicPem } = newKey()
const keys = trustedKeys([publicPem])

/** The script of the page, as a reader saves it. */
const script = /```js\n(\/\/ node check-proof\.mjs[\s\S]*?)```/.exec(
  readFileSync(new URL('../../docs/proofs.md', import.meta.url), 'utf8'),
)?.[1] as string

describe('proofs', () => {
  let lab: TieringLab
  let folder: string
  const shown = new Map<string, string[]>()
  const SESSIONS = ['plain', 'ünï "code"', 'erased', 'other']

  before(async () => {
    folder = await makeScratch('proofs')
    writeFileSync(path.join(folder, 'check-proof.mjs'), script)
    writeFileSync(path.join(folder, 'public.pem'), publicPem)
    lab = await TieringLab.open()
    const sids = new Map<string, string>()
    for (const session of SESSIONS) sids.set(session, await lab.session(session, 'acme'))
    const append = (from: number, count: number) =>
      lab.append(
        someEvents(
          SESSIONS.map((session) => ({ session, tenant: 'acme' })),
          from + count,
        ).slice(from * SESSIONS.length),
      )
    await append(0, 9)
    await takeCheckpoint(lab, { signer })
    await append(9, 6)
    await lab.db.query(
      `select starcite.append('plain', 'spaced', E' {\\n"payload":"," } ', p_metadata => ' {} ', p_refs => '{ } ', p_tenant_id => 'acme')`,
    )
    await takeCheckpoint(lab, { signer })
    await lab.move() // all of it is cold now
    await append(15, 5)
    await takeCheckpoint(lab, { signer })
    await append(20, 1) // which no checkpoint covers
    for (const session of SESSIONS) shown.set(session, await lab.read(sids.get(session) as string))
    for (const seq of [4, 18]) await lab.db.query(`select starcite.redact_event('acme', 'other', $1)`, [seq])
    await lab.db.query(`select starcite.erase_session('acme', 'erased')`)
  })
  after(async () => {
    await lab?.close()
    await rm(folder, { recursive: true, force: true })
  })

  const made = (sessionId: string, seq: number, hasContent = true) =>
    prove(lab.pool, lab.store, { tenantId: 'acme', sessionId, seq, hasContent })

  /** By the page's script, which knows nothing of this project. */
  function checkByPage(proof: Proof, name = 'proof.json') {
    writeFileSync(path.join(folder, name), JSON.stringify(proof, null, 2))
    const { status, stdout, stderr } = spawnSync(process.execPath, ['check-proof.mjs', name, 'public.pem'], {
      cwd: folder,
      encoding: 'utf8',
    })
    return { status, said: stdout + stderr }
  }

  it('hold for every event, hot and cold, of every form', async () => {
    for (const session of ['plain', 'ünï "code"'])
      for (const [i, frame] of (shown.get(session) ?? []).slice(0, -1).entries()) {
        const proof = await made(session, i + 1)

        const proven = checkProof(JSON.stringify(proof), keys)

        expect(proven).to.include({ tenantId: 'acme', sessionId: session, seq: i + 1, frame })
        expect(proven.checkpoint.number, 'the earliest').to.equal(
          i < 9 ? 1 : i < (session === 'plain' ? 16 : 15) ? 2 : 3,
        )
      }
  })

  it("are checked by the page's script, and by openssl", async () => {
    for (const [session, seq] of [
      ['plain', 1],
      ['plain', 16],
      ['ünï "code"', 5],
      ['ünï "code"', 17],
    ] as const) {
      const proof = await made(session, seq)

      const { status, said } = checkByPage(proof)

      expect(said).to.match(/^GOOD: event/)
      expect(said).to.include(shown.get(session)?.[seq - 1])
      expect(status).to.equal(0)
    }
    const proof = await made('plain', 2)
    writeFileSync(path.join(folder, 'body'), proof.checkpoint)
    writeFileSync(path.join(folder, 'signature'), Buffer.from(proof.signature, 'base64'))
    const command = 'pkeyutl -verify -pubin -inkey public.pem -rawin -in body -sigfile signature'
    expect(execFileSync('openssl', command.split(' '), { cwd: folder, encoding: 'utf8' })).to.match(
      /Verified Successfully/,
    )
  })

  it('hold for erased sessions and redacted events, by their digest, and show nothing of the content', async () => {
    for (const [session, seq] of [
      ['erased', 2],
      ['erased', 17],
      ['other', 4],
      ['other', 18],
    ] as const) {
      const proof = await made(session, seq)

      expect(proof.event, `${session} ${seq}`).to.equal(null)
      const proven = checkProof(JSON.stringify(proof), keys)
      expect(proven).to.include({ sessionId: session, seq, frame: null })
      const before = JSON.parse(shown.get(session)?.[seq - 1] ?? '')
      expect(proven).to.include({ type: before.type, actor: before.actor, insertedAt: before.inserted_at })
      expect(checkByPage(proof).said).to.match(/^GOOD: event/)
    }
    const neighbour = await made('other', 5)
    expect(checkProof(JSON.stringify(neighbour), keys).frame).to.equal(shown.get('other')?.[4])
  })

  it('can leave the content out, and the salt with it', async () => {
    const proof = await made('plain', 5, false)

    expect(proof.event).to.equal(null)
    expect(checkProof(JSON.stringify(proof), keys)).to.include({ seq: 5, frame: null })
  })

  it('are refused when anything in them was changed, by us and by the page', async () => {
    const proof = await made('plain', 6)
    const other = await made('other', 6)
    const event = proof.event as NonNullable<Proof['event']>
    const flip = (hex: string) => `${hex.startsWith('0') ? '1' : '0'}${hex.slice(1)}`
    const redated = proof.checkpoint.replace(/"time":"2/, '"time":"1')
    const wrong: Record<string, object> = {
      'another actor': {
        event: { ...event, frame: event.frame.replace(/"actor":"[^"]*"/, '"actor":"user:x"') },
      },
      'another payload in the frame': {
        event: { ...event, frame: event.frame.replace('"payload":', '"payload":{"x":1},"y":') },
      },
      'another payload': {
        event: { ...event, payload: '{"x":1}', frame: event.frame.replace(event.payload, '{"x":1}') },
      },
      'another salt': { event: { ...event, salt: flip(event.salt) } },
      'the event of another session': { event: other.event },
      'another seq': { seq: 7 },
      'another session': { session_id: 'other' },
      'another tenant': { tenant_id: 'evil' },
      'another previous hash': { previous_hash: flip(proof.previous_hash) },
      'a link less': { links: proof.links.slice(0, -1) },
      'links swapped': { links: [proof.links[0], proof.links[2], proof.links[1], ...proof.links.slice(3)] },
      'another head': { leaf: other.leaf },
      'another seq of the head': { leaf: { ...proof.leaf, seq: proof.leaf.seq + 1 } },
      'another index': { leaf: { ...proof.leaf, index: proof.leaf.index + 1 } },
      'another path': { path: proof.path.map(flip) },
      'a longer path': { path: [...proof.path, proof.path[0]] },
      'another time of the checkpoint': { checkpoint: redated },
      'another signature': { signature: other.signature.replace(/^./, (c) => (c === 'A' ? 'B' : 'A')) },
      'a signature by another key': {
        signature: (await newKey().signer.sign(Buffer.from(proof.checkpoint))).toString('base64'),
      },
    }
    expect(checkByPage(proof).status).to.equal(0)
    for (const [title, change] of Object.entries(wrong)) {
      const changed = { ...proof, ...change } as Proof
      expect(() => checkProof(JSON.stringify(changed), keys), title)
        .to.throw()
        .with.property('name', 'ProofError')
    }
    // A process each, so the page is tried with some: one of each of its steps.
    for (const title of [
      'another payload in the frame',
      'another payload',
      'links swapped',
      'another index',
      'another time of the checkpoint',
      'a signature by another key',
    ]) {
      const { status, said } = checkByPage({ ...proof, ...wrong[title] } as Proof)
      expect(said, title).to.match(/^WRONG: /)
      expect(status, title).to.equal(1)
    }
  })

  it('are refused when they are signed by a key that is not trusted, or are no proofs at all', async () => {
    const proof = JSON.stringify(await made('plain', 1))

    expect(() => checkProof(proof, trustedKeys([newKey().publicPem]))).to.throw(/not a trusted key/)
    for (const text of [
      '',
      '[]',
      'null',
      '{}',
      '{"format":"starcite-proof/1"}',
      proof.replace('"links":[', '"links":[1,'),
    ])
      expect(() => checkProof(text, keys), text.slice(0, 40))
        .to.throw()
        .with.property('name', 'ProofError')
  })

  it('cannot be made of what is not there, or not covered yet', async () => {
    for (const [session, seq, reason] of [
      ['nobody', 1, /there is no session/],
      ['other', 0, /no event 0/],
      ['other', 99, /no event 99/],
      ['other', 21, /no checkpoint covers event 21 yet: the newest covers events up to 20/],
    ] as const) {
      const failure = await made(session, seq).catch((error) => error)
      expect(failure).to.include({ name: 'NotProvableError' })
      expect(failure.message).to.match(reason)
    }
  })

  it('are of a later checkpoint where what the earlier one covers was lost in a restore that was acknowledged', async () => {
    const sid = await lab.session('restored', 'restored')
    const append = () =>
      lab.append([1, 2].map((n) => ({ tenant: 'restored', session: 'restored', payload: `{"n":${n}}` })))
    await append()
    await append()
    const [lost] = await takeCheckpoint(lab, { signer })
    const request = { tenantId: 'restored', sessionId: 'restored', seq: 2, hasContent: true }
    await lab.db.query('delete from starcite.events e where e.sid = $1 and e.seq > 2', [sid])
    await lab.db.query(
      `update starcite.session_heads h set last_seq = e.seq, chain_hash = e.hash
         from starcite.events e where e.sid = h.sid and e.sid = $1 and e.seq = 2`,
      [sid],
    )
    const failure = await prove(lab.pool, lab.store, request).catch((error) => error)
    await append()
    await takeCheckpoint(lab, { signer })
    await acknowledgeContradictions(lab.pool, undefined, 'restored')
    const [next] = await takeCheckpoint(lab, { signer })

    expect(failure).to.include({ name: 'ProofError' })
    expect(failure.message).to.include(`ends with event 2, and checkpoint ${lost?.number} covers it up to 4`)
    const proven = checkProof(JSON.stringify(await prove(lab.pool, lab.store, request)), keys)
    expect(proven.checkpoint.number).to.equal(next?.number)
    expect(proven.discontinuity).to.include({ number: lost?.number, seq: 4, reason: 'restored' })
  })

  it('keys that are none are refused without being quoted', () => {
    const { privatePem } = newKey()
    expect(() => trustedKeys([privatePem]))
      .to.throw(/private key/)
      .with.property('name', 'KeyError')
    expect(() => trustedKeys(['hunter2'])).to.throw(/^this is not an Ed25519 public key/)
    expect(() => localSigner('hunter2')).to.throw(/^this is not an Ed25519 private key/)
  })
})
