import { createHash } from 'node:crypto'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { expect } from 'chai'
import {
  bodyOf,
  checkpointKey,
  digestOf,
  parseCheckpoint,
  renderCheckpoint,
} from '../../src/audit/checkpoints/checkpoint.ts'
import { trustedKeys } from '../../src/audit/checkpoints/signer.ts'
import { CopiedLogs } from '../../src/audit/checkpoints/verify/copiedLogs.ts'
import { openCopy } from '../../src/audit/checkpoints/verify/copy.ts'
import { checkpointTable } from '../../src/audit/checkpoints/verify/queries.ts'
import { StoredLogs } from '../../src/audit/checkpoints/verify/storedLogs.ts'
import { type CheckpointFinding, verifyCheckpoints } from '../../src/audit/checkpoints/verify/verify.ts'

import { newKey, takeCheckpoint } from '../support/checkpoints.ts'
import { makeScratch } from '../support/scratch.ts'
import { TieringLab } from '../support/tiering.ts'
import { useEach } from '../support/use.ts'

const { signer, publicPem } = newKey()
const keys = trustedKeys([publicPem])
const signal = new AbortController().signal

describe('verifying checkpoints', () => {
  const lab = useEach(() => TieringLab.open())
  let copy: string | undefined

  /** Four checkpoints: of cold events and hot ones, of a session that is erased, of one in which nothing had moved. */
  beforeEach(async () => {
    for (const [tenant, id] of [
      ['one', 'cold'],
      ['two', 'hot'],
      ['two', 'erased'],
    ] as const)
      await lab.session(id, tenant)
    await append('one', 'cold', 3)
    await append('two', 'erased', 2)
    await takeCheckpoint(lab, { signer }) // 1: cold@3, erased@2
    await append('one', 'cold', 2)
    await lab.move()
    await append('one', 'cold', 2)
    await append('two', 'hot', 4)
    await takeCheckpoint(lab, { signer }) // 2: cold@7, hot@4
    await takeCheckpoint(lab, { signer }) // 3: nothing
    await append('two', 'hot', 2)
    await lab.db.query(`select starcite.erase_session('two', 'erased')`)
    await takeCheckpoint(lab, { signer }) // 4: hot@6
    await append('two', 'hot', 1)
  })
  afterEach(async () => {
    if (copy !== undefined) await rm(copy, { recursive: true, force: true })
    copy = undefined
  })

  const append = (tenant: string, session: string, events: number) =>
    lab.append(Array.from({ length: events }, (_, n) => ({ tenant, session, payload: `{"n":${n}}` })))

  /** What is found, in short. */
  const brief = ({ reason, number, log }: CheckpointFinding) =>
    `${number} ${reason}${log ? ` ${log.tenantId}/${log.sessionId}@${log.seq}` : ''}`

  async function verify(options: { anchors?: string[]; trusted?: typeof keys; since?: number } = {}) {
    const findings: string[] = []
    const verified = await verifyCheckpoints({
      store: lab.store,
      table: checkpointTable(lab.pool),
      logs: new StoredLogs(lab.pool, lab.store),
      keys: options.trusted ?? keys,
      anchors: options.anchors ?? [],
      since: options.since ?? 1,
      signal,
      onFinding: (finding) => findings.push(brief(finding)),
    })
    return { findings, verified }
  }

  /** As `aws s3 sync` would make it, and then without Postgres. */
  async function verifyCopy() {
    copy = await makeScratch('copy')
    for (const prefix of ['v1/', 'checkpoints/'])
      for await (const { key } of lab.store.list(prefix)) {
        const file = path.join(copy, 'starcite', key)
        await mkdir(path.dirname(file), { recursive: true })
        await writeFile(file, await lab.store.get(key))
      }
    const store = await openCopy(copy)
    const logs = new CopiedLogs(store)
    const findings: string[] = []
    const onFinding = (finding: CheckpointFinding) => findings.push(brief(finding))
    const verified = await verifyCheckpoints({ store, logs, keys, anchors: [], since: 1, signal, onFinding })
    return { findings, verified, absent: logs.absent }
  }

  const replace = async (key: string, body: Buffer) => {
    await lab.store.delete(key)
    await lab.store.putNew(key, body)
  }
  const stored = async (number: number) => {
    const found = parseCheckpoint(await lab.store.get(checkpointKey(number)))
    if (found === undefined) throw new Error(`no checkpoint ${number}`)
    return found
  }
  const dropRow = (number: number) =>
    lab.db.query('delete from starcite.checkpoints c where c.number = $1', [number])

  /** What a superuser does who knows how: the chain follows again, up to the head. */
  const rewriteChain = (id: string) =>
    lab.db.query(
      `with event as (
         select e.sid, e.seq, starcite.content_digest(e.salt, e.payload, e.metadata, e.refs) as digest, e.inserted_at, e.type,
                e.actor, e.source, e.producer_id, e.producer_seq, e.idempotency_key, e.subject, e.chain_version, s.tenant_id, s.id
           from starcite.events e join starcite.sessions s using (sid) where s.id = $1
       ), chained as (
         select e.sid, e.seq, e.digest, starcite.chain(starcite.genesis_hash(e.tenant_id, e.id), e.chain_version,
                  starcite.chain_link(e.chain_version, e.seq, e.inserted_at, e.type, e.actor, e.source, e.producer_id,
                                      e.producer_seq, e.idempotency_key, e.subject, e.digest)) over (order by e.seq) as hash
           from event e
       ), stored as (
         update starcite.events e set content_digest = c.digest, hash = c.hash from chained c
          where e.sid = c.sid and e.seq = c.seq
       )
       update starcite.session_heads h set chain_hash = c.hash, last_seq = c.seq
         from (select * from chained c order by c.seq desc limit 1) c where h.sid = c.sid`,
      [id],
    )

  it('finds nothing where nothing is wrong: hot, cold, erased, moved since', async () => {
    const { findings, verified } = await verify({ anchors: [digestOf((await stored(2)).body)] })

    expect(findings).to.deep.equal([])
    const { time, body } = await stored(4)
    expect(verified).to.deep.equal({
      checkpoints: 4,
      leaves: 5,
      last: { number: 4, time, sha256: digestOf(body) },
    })
    expect((await verify({ since: 3 })).verified).to.include({ checkpoints: 4, leaves: 1 })
  })

  it('finds a checkpoint that was dropped: from one of the two places, from both, and the last', async () => {
    await dropRow(2)
    expect((await verify()).findings).to.deep.equal(['2 missing'])
    await lab.store.delete(checkpointKey(2))
    expect((await verify()).findings).to.deep.equal(['2 missing'])
    await lab.store.delete(checkpointKey(3))
    expect((await verify()).findings).to.deep.equal(['2 missing', '3 missing'])
    const { body } = await stored(4)
    await dropRow(4)
    await lab.store.delete(checkpointKey(4))
    expect((await verify()).findings, 'the database still refers to it').to.include('4 missing')
    await lab.db.query('update starcite.checkpoint_heads c set number = least(c.number, 1)')
    expect((await verify()).findings).not.to.include('4 missing')
    expect((await verify({ anchors: [digestOf(body)] })).findings, 'it was published').to.include('0 missing')
  })

  it('finds a checkpoint that was edited, and one that was signed with another key', async () => {
    const second = await stored(2)
    const body = bodyOf({ ...second, time: '2001-01-01T00:00:00.000000Z' })
    await replace(checkpointKey(2), renderCheckpoint({ ...second, body }))
    expect((await verify()).findings).to.have.members(['2 changed', '2 broken', '2 signature', '3 broken'])

    await lab.db.query('update starcite.checkpoints c set body = $1 where c.number = 2', [body])
    expect((await verify()).findings, 'in both, and not in the columns beside it').to.have.members([
      '2 changed',
      '2 broken',
      '2 signature',
      '3 broken',
    ])

    const foreign = newKey()
    const signature = await foreign.signer.sign(Buffer.from(second.body))
    await replace(checkpointKey(2), renderCheckpoint({ ...second, signature }))
    await lab.db.query('update starcite.checkpoints c set body = $1, signature = $2 where c.number = 2', [
      second.body,
      signature,
    ])
    expect((await verify()).findings).to.deep.equal(['2 signature'])
    expect((await verify({ trusted: trustedKeys([foreign.publicPem]) })).findings).to.have.lengthOf(4)

    await replace(checkpointKey(2), Buffer.from('{"checkpoint":"x"}'))
    expect((await verify()).findings).to.include('2 changed')
  })

  it('finds leaves that were edited, damaged or taken away', async () => {
    const { leavesKey = '' } = await stored(2)
    const object = await lab.store.get(leavesKey)
    const [line] = gunzipSync(object).toString().split('\n')
    for (const wrong of [gzipSync(`${line}\n`), gzipSync('{}\n'), object.subarray(0, -9), Buffer.from('x')]) {
      await replace(leavesKey, wrong)
      expect((await verify()).findings).to.deep.equal(['2 changed'])
    }
    await lab.store.delete(leavesKey)
    expect((await verify()).findings).to.deep.equal(['2 missing'])
  })

  it('finds a head that was rewritten, with the whole chain before it', async () => {
    await lab.db.query(
      `update starcite.events e set payload = '{"n":"forged"}' from starcite.sessions s
        where s.sid = e.sid and s.id = 'hot' and e.seq = 5`,
    )
    await rewriteChain('hot')

    expect((await verify()).findings, 'not at 4, which is before').to.deep.equal(['4 checkpoint two/hot@6'])
  })

  it('finds a head that was rewritten alone, history that was cut off, and a session that is gone', async () => {
    const cut = (seq: number) =>
      lab.db.query(
        `delete from starcite.events e using starcite.sessions s where s.sid = e.sid and s.id = 'hot' and e.seq > $1`,
        [seq],
      )
    await cut(6)
    await rewriteChain('hot')
    expect((await verify()).findings, 'what was never signed').to.deep.equal([])
    await lab.db.query(
      `update starcite.session_heads h set chain_hash = sha256('x') from starcite.sessions s where s.sid = h.sid and s.id = 'hot'`,
    )
    expect((await verify()).findings).to.deep.equal(['4 checkpoint two/hot@6'])
    await cut(5)
    await rewriteChain('hot')
    expect((await verify()).findings).to.deep.equal(['4 checkpoint two/hot@6'])
    await lab.db.query(`update starcite.sessions s set id = 'renamed' where s.id = 'hot'`)
    expect((await verify()).findings).to.deep.equal([
      '2 checkpoint two/hot@4',
      '4 checkpoint two/hot@6',
      '4 left_out two/renamed@6',
    ])
  })

  it('finds a session that later checkpoints leave out, because it counts as covered further than it is', async () => {
    const cover = (id: string, seq: number, number: number) =>
      lab.db.query(
        `insert into starcite.checkpoint_heads as k (sid, last_seq, number)
         select s.sid, $2, $3 from starcite.sessions s where s.id = $1
             on conflict (sid) do update set last_seq = excluded.last_seq, number = excluded.number`,
        [id, seq, number],
      )
    await cover('hot', 1000, 4)
    await append('two', 'hot', 1)
    await takeCheckpoint(lab, { signer }) // 5: nothing
    expect((await verify()).findings, 'by the checkpoint that has it').to.deep.equal(['4 left_out two/hot@6'])
    expect((await verify({ since: 5 })).findings, 'of older ones nothing is known').to.deep.equal([])

    await cover('hot', 1000, 5)
    expect((await verify()).findings, 'by one without leaves').to.deep.equal(['5 left_out two/hot@1000'])
    await cover('hot', 1000, 1)
    expect((await verify()).findings, 'by an older one').to.deep.equal(['1 left_out two/hot@1000'])
    await cover('hot', 1000, 0)
    expect((await verify()).findings, 'by none').to.deep.equal(['0 left_out two/hot@1000'])
    await cover('hot', 1000, 6)
    expect((await verify()).findings, 'by one that there is not').to.deep.equal(['6 missing'])

    await lab.session('new', 'two')
    await cover('hot', 6, 4)
    await cover('new', 1000, 2)
    expect((await verify()).findings, 'before it has any event').to.deep.equal(['2 left_out two/new@1000'])
    await cover('new', 0, 2)
    await lab.db.query('delete from starcite.checkpoint_heads k where k.last_seq = 0')
    await append('two', 'new', 1)
    await takeCheckpoint(lab, { signer })
    expect((await verify()).findings, 'what counts as less is only covered again').to.deep.equal([])
  })

  it('finds columns of a checkpoint that do not say what its body says', async () => {
    await lab.db.query(
      'create temporary table good as select * from starcite.checkpoints c where c.number = 2',
    )
    for (const edit of [
      `sha256 = sha256('x')`,
      `root = sha256('x')`,
      'leaves = leaves + 1',
      `taken_at = taken_at + interval '1 second'`,
      `key_id = '0123456789abcdef'`,
      `leaves_key = 'another'`,
    ]) {
      await lab.db.query(`update starcite.checkpoints set ${edit} where number = 2`)
      expect((await verify()).findings, edit).to.deep.equal(['2 changed'])
      await lab.db.query(
        `update starcite.checkpoints c set sha256 = g.sha256, root = g.root, leaves = g.leaves, taken_at = g.taken_at,
                key_id = g.key_id, leaves_key = g.leaves_key from good g where c.number = g.number`,
      )
    }
    expect((await verify()).findings).to.deep.equal([])
  })

  /** Changes an object, and the manifest with it. */
  async function forgeObject(change: (text: string) => string): Promise<void> {
    for await (const { key } of lab.store.list('v1/one/')) {
      const body = gzipSync(change(gunzipSync(await lab.store.get(key)).toString()))
      await replace(key, body)
      await lab.db.query(
        `update starcite.slices s set bytes = $2, sha256 = $3 from starcite.objects o
          where o.object_id = s.object_id and o.key = $1`,
        [key, body.length, createHash('sha256').update(body).digest()],
      )
    }
  }

  it('finds a cold event whose hash was rewritten, and one that is gone, with Postgres and in a copy of the bucket', async () => {
    await forgeObject((text) => text.replace(/("seq":3,.*"hash":")[0-9a-f]{8}/, '$100000000'))
    expect((await verify()).findings).to.deep.equal(['1 checkpoint one/cold@3'])
    expect((await verifyCopy()).findings).to.deep.equal(['1 checkpoint one/cold@3'])

    await forgeObject((text) => text.replace(/("seq":3,.*),"session_id"/, '$1'))
    expect((await verify()).findings, 'no line any more').to.deep.equal(['1 checkpoint one/cold@3'])
    expect((await verifyCopy()).findings, 'what cannot be read is not at hand').to.deep.equal([])

    await forgeObject((text) => text.replace(/\{"seq":3,.*\n/, ''))
    expect((await verify()).findings).to.deep.equal(['1 checkpoint one/cold@3'])
    for await (const { key } of lab.store.list('v1/one/')) await lab.store.delete(key)
    expect((await verify()).findings).to.deep.equal(['1 checkpoint one/cold@3'])
  })

  it('works on a copy of the bucket alone, and says what it could not compare', async () => {
    const { findings, verified, absent } = await verifyCopy()

    expect(findings).to.deep.equal([])
    expect(verified).to.include({ checkpoints: 4, leaves: 5 })
    expect(absent, 'hot events: cold@7, hot@4, hot@6').to.equal(3)
  })

  it('raises no alarm while events move and checkpoints are taken', async () => {
    const verifying = Promise.all([verify(), verify()])
    await Promise.all([lab.move(), takeCheckpoint(lab, { signer })])
    for (const { findings } of await verifying) expect(findings).to.deep.equal([])
    expect((await verify()).findings, 'all of it cold').to.deep.equal([])
  })
})
