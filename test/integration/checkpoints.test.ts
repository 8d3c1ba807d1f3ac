import { verify } from 'node:crypto'
import { expect } from 'chai'
import { acknowledgeContradictions } from '../../src/audit/checkpoints/acknowledgementQueries.ts'
import { checkpointKey, digestOf, type SignedCheckpoint } from '../../src/audit/checkpoints/checkpoint.ts'
import { Checkpointer, type CheckpointStep } from '../../src/audit/checkpoints/checkpointer.ts'
import { DbSession } from '../../src/db/session.ts'
import { S3Store } from '../../src/objects/s3Store.ts'
import { createLog } from '../../src/ops/log.ts'
import {
  checkpointJob,
  leafText,
  leavesOf,
  merkleRoot,
  newKey,
  takeCheckpoint,
} from '../support/checkpoints.ts'
import { startNode } from '../support/node.ts'
import { S3Server } from '../support/s3Server.ts'
import { connect } from '../support/template.ts'
import { HASTY, TieringLab } from '../support/tiering.ts'
import { until } from '../support/until.ts'

const { signer, privatePem } = newKey()

describe('checkpoints', () => {
  let lab: TieringLab

  beforeEach(async () => {
    lab = await TieringLab.open()
  })
  afterEach(() => lab.close())

  const append = (tenant: string, session: string, events = 1) =>
    lab.append(Array.from({ length: events }, () => ({ tenant, session })))
  const names = async (key: string | undefined) =>
    (await leavesOf(lab.store, key)).map((leaf) => `${leaf.tenant_id}/${leaf.session_id}@${leaf.seq}`)

  /** What must hold whenever the store and the table are at rest. */
  async function expectChain(): Promise<number> {
    const { rows } = await lab.db.query(
      `select c.number::int, c.body, c.signature, c.leaves::int, c.leaves_key, c.stored_at is not null as stored,
              encode(c.root, 'hex') as root
         from starcite.checkpoints c order by c.number`,
    )
    let previous = '0'.repeat(64)
    const covered = new Map<string, { last_seq: number; number: number }>()
    for (const [i, row] of rows.entries()) {
      const object = JSON.parse((await lab.store.get(checkpointKey(row.number))).toString())
      const leaves = await leavesOf(lab.store, row.leaves_key ?? undefined)
      expect(row).to.include({ number: i + 1, stored: true })
      expect(object).to.deep.equal({
        checkpoint: row.body,
        signature: row.signature.toString('base64'),
        ...(row.leaves_key && { leaves_object: row.leaves_key }),
      })
      expect(JSON.parse(row.body)).to.include({
        number: i + 1,
        previous,
        root: row.root,
        leaves: leaves.length,
      })
      expect(verify(null, Buffer.from(row.body), signer.publicKey, row.signature)).to.equal(true)
      expect(merkleRoot(leaves.map((leaf) => Buffer.from(leafText(leaf)))).toString('hex')).to.equal(row.root)
      for (const { tenant_id, session_id, seq } of leaves)
        covered.set(`${tenant_id}/${session_id}`, { last_seq: seq, number: i + 1 })
      previous = digestOf(row.body)
    }
    const { rows: heads } = await lab.db.query(
      `select s.tenant_id || '/' || s.id as name, c.last_seq::int, c.number::int
         from starcite.checkpoint_heads c join starcite.sessions s using (sid)`,
    )
    expect(new Map(heads.map(({ name, ...head }) => [name, head]))).to.deep.equal(covered)
    return rows.length
  }

  it('cover the heads that have moved since the one before, in the order of their names', async () => {
    for (const [tenant, id] of [
      ['b', 'x'],
      ['a', 'é'],
      ['a', 'z'],
      ['b', 'quiet'],
    ] as const)
      await lab.session(id, tenant)
    await append('b', 'x', 3)
    await append('a', 'é')
    await append('a', 'z', 2)

    const [first] = await takeCheckpoint(lab, { signer })
    const [nothing] = await takeCheckpoint(lab, { signer })
    await append('a', 'z')
    const [second] = await takeCheckpoint(lab, { signer })

    expect(await names(first?.leavesKey)).to.deep.equal(['a/z@2', 'a/é@1', 'b/x@3'])
    expect(nothing).to.include({ number: 2, leaves: 0, leavesKey: undefined })
    expect(await names(second?.leavesKey)).to.deep.equal(['a/z@3'])
    const [leaf] = await leavesOf(lab.store, second?.leavesKey)
    const { rows } = await lab.db.query(
      `select encode(e.hash, 'hex') as hash from starcite.events e join starcite.sessions s using (sid)
        where s.id = 'z' and e.seq = 3`,
    )
    expect(leaf?.hash).to.equal(rows[0].hash)
    expect(await expectChain()).to.equal(3)
    const { rows: shown } = await lab.db.query(
      'select c.number, c.sha256, c.signature from audit.checkpoints c order by c.number',
    )
    expect(shown.at(-1)).to.deep.equal({
      number: '3',
      sha256: digestOf(second?.body ?? ''),
      signature: second?.signature.toString('base64'),
    })
  })

  it('miss no append that commits late', async () => {
    await lab.session('late')
    await lab.session('early')
    await append('default', 'early') // which also makes the segment
    await takeCheckpoint(lab, { signer })
    const slow = await connect(lab.database)
    await slow.query('begin')
    await slow.query(`select starcite.append('late', 't', '{}')`)
    await append('default', 'early')

    const [before] = await takeCheckpoint(lab, { signer })
    await slow.query('commit')
    await slow.end()
    const [after] = await takeCheckpoint(lab, { signer })

    expect(await names(before?.leavesKey)).to.deep.equal(['default/early@2'])
    expect(await names(after?.leavesKey)).to.deep.equal(['default/late@1'])
  })

  it('are several when more has moved than one may cover, and together have it all', async () => {
    for (const id of ['a', 'b', 'c', 'd', 'e']) await lab.session(id)
    for (const id of ['d', 'e']) await append('default', id)
    await takeCheckpoint(lab, { signer })
    for (const id of ['a', 'b', 'c', 'd', 'e']) await append('default', id)

    const taken = await takeCheckpoint(lab, { signer, maxLeaves: 3 })

    expect(await Promise.all(taken.map((checkpoint) => names(checkpoint.leavesKey)))).to.deep.equal([
      ['default/a@1', 'default/b@1', 'default/c@1'],
      ['default/d@2', 'default/e@2'],
    ])
    expect(await expectChain()).to.equal(3)
  })

  for (const kind of ['a table', 'a bucket'] as const)
    describe(`in ${kind}`, () => {
      let server: S3Server | undefined
      beforeEach(async () => {
        if (kind === 'a table') return
        await lab.close()
        server = await S3Server.start()
        lab = await TieringLab.open(new S3Store(server.settings, HASTY))
      })
      afterEach(() => server?.stop())

      it('are whole again after a crash at any step, without a fork or a gap', async () => {
        await lab.session('s')
        const steps: CheckpointStep[] = ['gathered', 'leaves', 'noted', 'written', 'stored']
        let expected = 0
        for (const step of steps) {
          await append('default', 's')
          const crash = await takeCheckpoint(lab, {
            signer,
            probe: (at) => {
              if (at === step) throw new Error(`crash at ${step}`)
            },
          }).catch((error) => error.message)
          expect(crash).to.equal(`crash at ${step}`)
          await append('default', 's')

          const [next] = await takeCheckpoint(lab, { signer })

          const wasNoted = steps.indexOf(step) >= steps.indexOf('noted')
          expected += wasNoted ? 2 : 1
          expect(next?.number, step).to.equal(expected)
          expect(await expectChain(), step).to.equal(expected)
        }
      })
    })

  it('are taken by one of two at a time, and by one of two whose locks have failed', async () => {
    await lab.session('s')
    await append('default', 's')
    let isFree = () => {}
    const held = new Promise<void>((resolve) => (isFree = resolve))
    let isGathered = () => {}
    const gathered = new Promise<void>((resolve) => (isGathered = resolve))
    const slow = checkpointJob(lab, {
      signer,
      probe: async (step) => {
        if (step !== 'leaves') return
        isGathered()
        await held
      },
    }).pass()
    await gathered

    expect(await checkpointJob(lab, { signer }).pass()).to.deep.equal({ ran: false, why: 'held' })
    const session = await DbSession.open(lab.database.url, 'without a lock', 5000, createLog('silent'))
    const options = { session, store: lab.store, signer, signal: new AbortController().signal }
    const unlocked: SignedCheckpoint[] = []
    await new Checkpointer(options).take((checkpoint) => unlocked.push(checkpoint))
    await session.stop()
    isFree()
    const failure = await slow.catch((error) => error.code)

    expect(unlocked.map((checkpoint) => checkpoint.number)).to.deep.equal([1])
    expect(failure, 'unique_violation').to.equal('23505')
    expect(await expectChain()).to.equal(1)
  })

  it('go on where the store says when the database is restored from a backup', async () => {
    for (const id of ['a', 'b']) {
      await lab.session(id)
      await append('default', id, 2)
    }
    await takeCheckpoint(lab, { signer })
    await append('default', 'a', 3)
    const [second] = await takeCheckpoint(lab, { signer })
    // The restore: 'a' is where it was at the first checkpoint, and the second is not known.
    await lab.db.query('begin')
    await lab.db.query(
      `delete from starcite.events e using starcite.sessions s where s.sid = e.sid and s.id = 'a' and e.seq > 2`,
    )
    await lab.db.query(
      `update starcite.session_heads h set last_seq = 2, chain_hash = e.hash
         from starcite.sessions s join starcite.events e using (sid) where s.sid = h.sid and s.id = 'a' and e.seq = 2`,
    )
    await lab.db.query('delete from starcite.checkpoints c where c.number = 2')
    await lab.db.query('update starcite.checkpoint_heads c set last_seq = 2, number = 1')
    await lab.db.query('commit')
    await append('default', 'a')

    const [third] = await takeCheckpoint(lab, { signer })

    expect(third).to.include({ number: 3, previous: digestOf(second?.body ?? '') })
    expect(await names(third?.leavesKey), 'not of what contradicts the second').to.deep.equal([])
    const { rows } = await lab.db.query(
      `select k.session, k.reason, k.number::int, k.signed_seq::int, k.found_seq::int from audit.checkpoint_contradictions k`,
    )
    expect(rows).to.deep.equal([
      { session: 'a', reason: 'went_back', number: 2, signed_seq: 5, found_seq: 3 },
    ])
    await acknowledgeContradictions(lab.pool, undefined, 'restored')
    const [fourth] = await takeCheckpoint(lab, { signer })
    expect(await names(fourth?.leavesKey), 'what was appended since').to.deep.equal(['default/a@3'])
    expect(fourth).to.include({ discontinuities: 1 })
  })

  it('tell of sessions that a restore has lost altogether', async () => {
    await lab.session('a')
    await append('default', 'a')
    await takeCheckpoint(lab, { signer })
    await lab.session('lost')
    await append('default', 'lost', 2)
    await takeCheckpoint(lab, { signer })
    await lab.db.query(
      'delete from starcite.events e using starcite.sessions s where s.sid = e.sid and s.id = $1',
      ['lost'],
    )
    await lab.db.query(`delete from starcite.session_heads h where h.last_seq = 2`)
    await lab.db.query(
      `set session_replication_role = replica; delete from starcite.sessions where id = 'lost';
       reset session_replication_role; delete from starcite.checkpoints c where c.number = 2;
       delete from starcite.checkpoint_heads c where c.number = 2`,
    )
    await takeCheckpoint(lab, { signer })

    const { rows } = await lab.db.query(
      `select k.session, k.reason, k.number::int, k.signed_seq::int, k.found_seq::int from audit.checkpoint_contradictions k`,
    )
    expect(rows).to.deep.equal([
      { session: 'lost', reason: 'gone', number: 2, signed_seq: 2, found_seq: null },
    ])
  })

  it('stop where the store has another one of the number that comes next', async () => {
    await takeCheckpoint(lab, { signer })
    await lab.store.putNew(checkpointKey(2), Buffer.from('{}'))

    const failure = await takeCheckpoint(lab, { signer }).catch((error) => error)

    expect(failure).to.include({ name: 'ForkError' })
    const { rows } = await lab.db.query('select count(*)::int as n from starcite.checkpoints')
    expect(rows[0].n).to.equal(1)
  })

  it('are not noted when the signer gives something else than a signature by its key', async () => {
    const other = newKey().signer
    const failure = await takeCheckpoint(lab, {
      signer: { ...signer, sign: (bytes) => other.sign(bytes) },
    }).catch((error) => error.message)

    expect(failure).to.match(/not a signature by the key/)
    expect(await lab.db.query('select from starcite.checkpoints')).to.have.property('rowCount', 0)
  })

  it('are taken at an interval by nodes that have a key, one of them at a time, and show in their metrics', async () => {
    const settings = {
      STARCITE_CHECKPOINT_KEY: privatePem.replaceAll('\n', '\\n'),
      STARCITE_CHECKPOINT_INTERVAL: '1s',
    }
    const nodes = await Promise.all([1, 2].map(() => startNode(lab.database, settings)))
    const count = async () =>
      (await lab.db.query('select count(*)::int as n from starcite.checkpoints')).rows[0].n as number

    await until('three checkpoints', async () => (await count()) >= 3)
    const metrics = await Promise.all(nodes.map(async ({ url }) => (await fetch(`${url}/metrics`)).text()))
    await Promise.all(nodes.map((node) => node.stop()))

    for (const text of metrics) {
      expect(text).to.match(/^starcite_checkpoint_number [1-9]/m)
      expect(text).to.match(/^starcite_checkpoint_age_seconds \d/m)
    }
    await takeCheckpoint(lab, { signer }) // stores what a stopping node has left
    await expectChain()
    const { rows } = await lab.db.query(
      `select min(d.pause) >= 1 as "isKept" from (
         select extract(epoch from c.taken_at - lag(c.taken_at) over (order by c.number)) as pause
           from starcite.checkpoints c where c.number <= 3) d`,
    )
    expect(rows[0].isKept).to.equal(true)
  })
})
