import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import path from 'node:path'
import { expect } from 'chai'
import {
  acknowledgeContradictions,
  listContradictions,
} from '../../src/audit/checkpoints/acknowledgementQueries.ts'
import type { SignedCheckpoint } from '../../src/audit/checkpoints/checkpoint.ts'
import { trustedKeys } from '../../src/audit/checkpoints/signer.ts'
import { checkpointTable } from '../../src/audit/checkpoints/verify/queries.ts'
import { StoredLogs } from '../../src/audit/checkpoints/verify/storedLogs.ts'
import { verifyCheckpoints } from '../../src/audit/checkpoints/verify/verify.ts'
import { checkProof } from '../../src/audit/proofs/check.ts'
import { prove } from '../../src/audit/proofs/prove.ts'
import type { Log } from '../../src/ops/log.ts'
import { checkpointJob, leavesOf, newKey, takeCheckpoint } from '../support/checkpoints.ts'
import { makeScratch } from '../support/scratch.ts'
import { TieringLab } from '../support/tiering.ts'
import { useEach } from '../support/use.ts'

const { signer, publicPem } = newKey()
const keys = trustedKeys([publicPem])
const script = /```js\n(\/\/ node check-proof\.mjs[\s\S]*?)```/.exec(
  readFileSync(new URL('../../docs/proofs.md', import.meta.url), 'utf8'),
)?.[1] as string

describe('a log that contradicts what was signed', () => {
  const lab = useEach(() => TieringLab.open())

  beforeEach(async () => {
    for (const session of ['s', 'other']) await lab.session(session, 'acme')
    await append('s', 5)
    await append('other', 2)
    await takeCheckpoint(lab, { signer })
  })

  const append = (session: string, count: number) =>
    lab.append(Array.from({ length: count }, () => ({ tenant: 'acme', session })))
  const proof = (seq: number, sessionId = 's') =>
    prove(lab.pool, lab.store, { tenantId: 'acme', sessionId, seq, hasContent: true })
  const failure = (promise: Promise<unknown>) =>
    promise.then(
      () => expect.fail('it was not refused'),
      (error: Error) => error,
    )
  const signed = async (taken: readonly SignedCheckpoint[]) =>
    (await leavesOf(lab.store, taken[0]?.leavesKey)).map((leaf) => `${leaf.session_id}@${leaf.seq}`)
  const reasons = async () =>
    (
      await lab.db.query(
        `select k.session || ' ' || k.reason || ' ' || k.signed_seq || ' ' || coalesce(k.found_seq::text, '-') as line
           from audit.checkpoint_contradictions k where k.resolved_at is null and k.recorded_number is null order by 1`,
      )
    ).rows.map(({ line }) => line)
  /** What a restore of an older backup does to a session, or who knows how. */
  const cutTo = (seq: number) =>
    lab.db.query(
      `with cut as (delete from starcite.events e using starcite.sessions s
                     where s.sid = e.sid and s.id = 's' and e.seq > $1)
       update starcite.session_heads h set last_seq = $1, chain_hash = e.hash
         from starcite.events e join starcite.sessions s using (sid) where h.sid = e.sid and s.id = 's' and e.seq = $1`,
      [seq],
    )
  async function verify() {
    const found: string[] = []
    await verifyCheckpoints({
      store: lab.store,
      table: checkpointTable(lab.pool),
      logs: new StoredLogs(lab.pool, lab.store),
      keys,
      anchors: [],
      since: 1,
      signal: new AbortController().signal,
      onFinding: ({ reason, number, log }) =>
        void found.push(`${reason} ${number} ${log?.sessionId} ${log?.seq}`),
      onAcknowledged: ({ number, log, discontinuity }) =>
        void found.push(
          `acknowledged ${number} ${log.sessionId} ${log.seq}: ${discontinuity.number} ${discontinuity.seq} ${discontinuity.reason}`,
        ),
    })
    return found
  }

  it('is never signed over: cut off, and written again beyond', async () => {
    const genuine = await proof(4)
    await cutTo(3)
    await append('s', 3)
    await append('other', 1)
    const errors: unknown[] = []
    const log = { error: (error: unknown) => errors.push(error), info() {}, warn() {} } as unknown as Log
    const job = checkpointJob(lab, { signer, log })

    const result = await job.pass()

    expect(result.ran && (await signed(result.taken))).to.deep.equal(['other@3'])
    expect(await reasons()).to.deep.equal(['s changed 5 6'])
    expect(job.contradictions).to.equal(1)
    expect(errors).to.have.lengthOf(1)
    expect(errors[0]).to.include({
      tenantId: 'acme',
      sessionId: 's',
      number: 1,
      signedSeq: 5,
      reason: 'changed',
    })
    const refused = await failure(proof(4))
    expect(refused).to.include({ name: 'ProofError' })
    expect(refused.message).to.include('the log is not what checkpoint 1 says')
    expect(await verify()).to.deep.equal(['checkpoint 1 s 5'])
    expect(checkProof(JSON.stringify(genuine), keys).seq, 'what was proven before').to.equal(4)

    await append('s', 1)
    const again = await job.pass()
    expect(again.ran && (await signed(again.taken)), 'later, too').to.deep.equal([])
    expect(errors, 'and it stays loud').to.have.lengthOf(2)
    expect(await reasons()).to.deep.equal(['s changed 5 6'])
  })

  const WAYS: [string, () => Promise<unknown>, string][] = [
    ['went back', () => cutTo(3), 's went_back 5 3'],
    [
      'went back to nothing',
      () => lab.db.query(`update starcite.session_heads h set last_seq = 0 where h.last_seq = 5`),
      's went_back 5 0',
    ],
    [
      'has another hash at its end',
      () =>
        lab.db.query(
          `update starcite.session_heads h set chain_hash = sha256(h.chain_hash) where h.last_seq = 5`,
        ),
      's changed 5 5',
    ],
    [
      'has lost the event that was signed',
      async () => {
        await append('s', 1)
        await lab.db.query('delete from starcite.events e where e.seq = 5')
      },
      's gone 5 6',
    ],
    [
      'has lost its head',
      () => lab.db.query('delete from starcite.session_heads h where h.last_seq = 5'),
      's gone 5 -',
    ],
    [
      'is gone altogether',
      () =>
        lab.db
          .query(
            `with s as (select s.sid from starcite.sessions s where s.id = 's'),
                e as (delete from starcite.events e using s where e.sid = s.sid),
                c as (delete from starcite.session_progress c using s where c.sid = s.sid),
                h as (delete from starcite.session_heads h using s where h.sid = s.sid)
           select`,
          )
          .then(() =>
            lab.db.query(
              `set session_replication_role = replica; delete from starcite.sessions where id = 's'; reset session_replication_role`,
            ),
          ),
      's gone 5 -',
    ],
    [
      'was signed by a build that kept no hashes',
      async () => {
        await lab.db.query('update starcite.checkpoint_heads set hash = null, hash_number = null')
        await cutTo(3)
        await append('s', 2)
      },
      's changed 5 5',
    ],
  ]
  for (const [what, how, reason] of WAYS)
    it(`is found, and left out, when it ${what}`, async () => {
      await how()
      await append('other', 1)

      const taken = await takeCheckpoint(lab, { signer })

      expect(await signed(taken)).to.deep.equal(['other@3'])
      expect(await reasons()).to.deep.equal([reason])
    })

  it('is found where the event that was signed is cold, and not where it is what it was', async () => {
    await lab.move()
    await append('s', 1)
    await append('other', 1)
    expect(await signed(await takeCheckpoint(lab, { signer }))).to.deep.equal(['other@3', 's@6'])
    await lab.move()
    await lab.db.query(`update starcite.checkpoint_heads c set hash = sha256(c.hash) where c.last_seq = 6`)
    await append('s', 1)
    await append('other', 1)

    expect(await signed(await takeCheckpoint(lab, { signer }))).to.deep.equal(['other@4'])
    expect(await reasons()).to.deep.equal(['s changed 6 7'])
  })

  it('is not provable either when an attacker made a checkpoint sign it', async () => {
    await cutTo(3)
    await append('s', 3)
    await lab.db.query('delete from starcite.checkpoint_heads c where c.last_seq = 5')
    expect(await signed(await takeCheckpoint(lab, { signer }))).to.deep.equal(['s@6'])

    for (const seq of [4, 5]) {
      const refused = await failure(proof(seq))
      expect(refused).to.include({ name: 'ProofError' })
      expect(refused.message).to.include('checkpoint 1')
    }
    expect(await verify()).to.deep.equal(['checkpoint 1 s 5'])
  })

  it('is covered again once it is what was signed', async () => {
    const { rows } = await lab.db.query(`select h.* from starcite.session_heads h where h.last_seq = 5`)
    await lab.db.query('update starcite.session_heads h set last_seq = 3 where h.sid = $1', [rows[0].sid])
    await takeCheckpoint(lab, { signer })
    expect(await reasons()).to.deep.equal(['s went_back 5 3'])
    await lab.db.query('update starcite.session_heads h set last_seq = 5 where h.sid = $1', [rows[0].sid])
    await append('s', 1)

    const taken = await takeCheckpoint(lab, { signer })

    expect(await signed(taken)).to.deep.equal(['s@6'])
    expect(await reasons()).to.deep.equal([])
    expect(await verify()).to.deep.equal([])
  })

  describe('that an operator acknowledges', () => {
    const REASON = 'restored from the backup of 2026-11-29, "case" 4711: ä'
    let folder: string

    before(async () => {
      folder = await makeScratch('acknowledged')
      writeFileSync(path.join(folder, 'check-proof.mjs'), script)
      writeFileSync(path.join(folder, 'public.pem'), publicPem)
    })
    after(() => rm(folder, { recursive: true, force: true }))

    function byPage(proof: unknown): string {
      writeFileSync(path.join(folder, 'proof.json'), JSON.stringify(proof, null, 2))
      return spawnSync(process.execPath, ['check-proof.mjs', 'proof.json', 'public.pem'], {
        cwd: folder,
        encoding: 'utf8',
      }).stdout
    }

    it('is signed from there on, with what it does not continue, for every verifier to see', async () => {
      await cutTo(3)
      await append('s', 3)
      await takeCheckpoint(lab, { signer })
      const [open] = await listContradictions(lab.pool)
      expect(open).to.include({ tenant: 'acme', session: 's', acknowledged: false })

      const acknowledged = await acknowledgeContradictions(
        lab.pool,
        { tenantId: 'acme', sessionId: 's' },
        REASON,
      )
      const [checkpoint] = await takeCheckpoint(lab, { signer })

      expect(acknowledged).to.have.lengthOf(1)
      expect(checkpoint).to.include({ leaves: 1, discontinuities: 1 })
      expect(checkpoint?.body).to.include('"format":"starcite-checkpoint/2"')
      const [leaf] = await leavesOf(lab.store, checkpoint?.leavesKey)
      expect(leaf).to.deep.include({ session_id: 's', seq: 6 })
      expect(await reasons()).to.deep.equal([])
      const { rows } = await lab.db.query(
        'select c.discontinuities::int from audit.checkpoints c order by c.number',
      )
      expect(rows.map((row) => row.discontinuities)).to.deep.equal([0, 0, 1])
      for (const seq of [4, 6]) {
        const made = await proof(seq)
        const proven = checkProof(JSON.stringify(made), keys)
        expect(proven.discontinuity).to.deep.include({ number: 1, seq: 5, reason: REASON })
        expect(byPage(made)).to.match(/^GOOD: /)
        expect(byPage(made)).to.include(`It does NOT continue event 5, ${proven.discontinuity?.hash}`)
        for (const change of [{ reason: 'nothing happened' }, { seq: 4 }, { number: 2 }]) {
          const forged = {
            ...made,
            leaf: { ...made.leaf, discontinuity: { ...made.leaf.discontinuity, ...change } },
          }
          expect(() => checkProof(JSON.stringify(forged), keys)).to.throw(/root/)
          expect(byPage(forged)).to.match(/^WRONG: /)
        }
        const { discontinuity: _, ...without } = made.leaf
        expect(() => checkProof(JSON.stringify({ ...made, leaf: without }), keys)).to.throw(/root/)
      }
      expect(await verify()).to.deep.equal([`acknowledged 3 s 6: 1 5 ${REASON}`])

      await append('s', 1)
      const [next] = await takeCheckpoint(lab, { signer })
      expect(next).to.include({ leaves: 1, discontinuities: 0 })
      expect(checkProof(JSON.stringify(await proof(7)), keys).discontinuity).to.equal(null)
      await lab.db.query(`update starcite.events e set hash = sha256(e.hash) where e.seq = 6`)
      expect(await verify(), 'later tampering is none of it').to.deep.include('checkpoint 3 s 6')
    })

    it('and is gone is recorded as a log without events; a new session of its name is signed from then on', async () => {
      await lab.db.query(
        `delete from starcite.session_heads h where h.last_seq = 5; set session_replication_role = replica;
         delete from starcite.sessions where id = 's'; reset session_replication_role`,
      )
      await takeCheckpoint(lab, { signer })
      await lab.session('s', 'acme')
      await append('s', 1)
      expect(await signed(await takeCheckpoint(lab, { signer })), 'not under its name').to.deep.equal([])

      await acknowledgeContradictions(lab.pool, undefined, REASON)
      expect(await signed(await takeCheckpoint(lab, { signer }))).to.deep.equal(['s@1'])

      expect(checkProof(JSON.stringify(await proof(1)), keys).discontinuity).to.deep.include({ seq: 5 })
      expect(await verify()).to.deep.equal([`acknowledged 4 s 1: 1 5 ${REASON}`])
      await append('s', 1)
      expect(await signed(await takeCheckpoint(lab, { signer }))).to.deep.equal(['s@2'])
    })
  })
})
