import { expect } from 'chai'
import { trustedKeys } from '../../src/audit/checkpoints/signer.ts'
import type { Finding } from '../../src/audit/finding.ts'
import { checkProof } from '../../src/audit/proofs/check.ts'
import { prove } from '../../src/audit/proofs/prove.ts'
import { verifyCopy } from '../../src/audit/verify/verifyCopy.ts'
import { verifyDatabase } from '../../src/audit/verify/verifyDatabase.ts'
import { S3Store } from '../../src/objects/s3Store.ts'
import { copyOfBucket } from '../support/bucketCopy.ts'
import { newKey, takeCheckpoint } from '../support/checkpoints.ts'
import { appendInFormOne } from '../support/formOne.ts'
import { S3Server } from '../support/s3Server.ts'
import { TieringLab } from '../support/tiering.ts'
import { useEach } from '../support/use.ts'
import { faultsOfChain } from '../support/wholeChain.ts'

const { signer, publicPem } = newKey()
const TENANT = 'acme'
const OLD = Array.from({ length: 3 }, () => ({}))

describe('the two forms of the hash chain', () => {
  const server = useEach(() => S3Server.start())
  const lab = useEach(() => TieringLab.open(new S3Store(server.settings)))

  const append = (session: string, count: number, subject?: string) =>
    lab.append(
      Array.from({ length: count }, () => ({ tenant: TENANT, session, ...(subject && { subject }) })),
    )

  /** What each of those who verify finds first of every session that is not in order. */
  async function found(): Promise<Record<'sql' | 'database' | 'copy', string[]>> {
    const { rows } = await lab.db.query(
      `select s.id || ' ' || v.reason || ' ' || v.wrong_seq as line
         from starcite.sessions s cross join lateral audit.verify(s.tenant_id, s.id) v where not v.ok order by 1`,
    )
    const brief = (findings: Finding[]) =>
      findings.map((finding) => `${finding.session} ${finding.reason} ${finding.seq}`).sort()
    const { signal } = new AbortController()
    const findings: Finding[] = []
    const onFinding = (finding: Finding) => void findings.push(finding)
    await verifyDatabase({ db: lab.pool, store: lab.store, signal, scope: {}, onFinding })
    const ofCopy: Finding[] = []
    const copy = await copyOfBucket(server.objects)
    await verifyCopy({
      directory: copy.directory,
      signal,
      scope: {},
      onFinding: (finding) => void ofCopy.push(finding),
    })
    await copy.remove()
    return { sql: rows.map(({ line }) => line), database: brief(findings), copy: brief(ofCopy) }
  }

  it('verify as one log: hot, cold, redacted, in a copy, and by a proof of any event', async () => {
    const sid = await lab.session('s', TENANT)
    await appendInFormOne(lab.db, TENANT, 's', OLD)
    await append('s', 3, 'service:backend')
    await takeCheckpoint(lab, { signer })
    expect(await found()).to.deep.equal({ sql: [], database: [], copy: [] })
    const before = await lab.read(sid)

    await lab.move()
    await append('s', 2)
    await lab.db.query(`select starcite.redact_event($1, 's', 2), starcite.redact_event($1, 's', 5)`, [
      TENANT,
    ])
    await lab.move()

    expect(await found()).to.deep.equal({ sql: [], database: [], copy: [] })
    expect(await faultsOfChain(lab.db, lab.store, sid)).to.deep.equal([])
    const frames = await lab.read(sid)
    for (const seq of [1, 3, 4, 6]) {
      expect(frames[seq - 1]).to.equal(before[seq - 1])
      const proof = await prove(lab.pool, lab.store, {
        tenantId: TENANT,
        sessionId: 's',
        seq,
        hasContent: true,
      })
      expect(proof.links.map((link) => link.version)).to.deep.equal([1, 1, 1, 2, 2, 2].slice(seq - 1))
      const proven = checkProof(JSON.stringify(proof), trustedKeys([publicPem]))
      expect(proven).to.include({ frame: frames[seq - 1], subject: seq > 3 ? 'service:backend' : null })
    }
    const redacted = JSON.parse(frames[4] as string)
    expect(redacted).to.include({ redacted: true, subject: 'service:backend' })
  })

  it('are refused where form 1 follows form 2, wherever the events lie', async () => {
    for (const session of ['hot', 'cold', 'between']) await lab.session(session, TENANT)
    for (const session of ['cold', 'between']) await append(session, 2)
    await appendInFormOne(lab.db, TENANT, 'cold', OLD)
    await lab.moveDamaged()
    await append('hot', 2)
    for (const session of ['hot', 'between']) await appendInFormOne(lab.db, TENANT, session, OLD)

    const { sql, database, copy } = await found()

    expect(database).to.deep.equal(['between broken 3', 'cold broken 3', 'hot broken 3'])
    expect(copy).to.deep.equal(['cold broken 3'])
    expect(sql, 'which looks at no cold event').to.deep.equal(['between broken 3', 'hot broken 3'])
    await lab.moveDamaged()
    expect((await found()).copy, 'over two objects').to.deep.equal(database)
    await takeCheckpoint(lab, { signer })
    for (const session of ['hot', 'cold'])
      expect(
        await prove(lab.pool, lab.store, {
          tenantId: TENANT,
          sessionId: session,
          seq: 1,
          hasContent: true,
        }).catch((error) => error.message),
      ).to.match(/form 2 of the chain is followed by one of form 1/)
  })

  it('are refused where an event of form 1 has a subject, which that form does not cover', async () => {
    for (const session of ['hot', 'cold']) await lab.session(session, TENANT)
    const forge = (session: string) =>
      lab.db.query(
        `update starcite.events e set subject = 'service:forged' from starcite.sessions s
          where s.sid = e.sid and s.id = $1 and e.seq = 2`,
        [session],
      )
    await appendInFormOne(lab.db, TENANT, 'cold', OLD)
    await forge('cold')
    await lab.moveDamaged()
    await appendInFormOne(lab.db, TENANT, 'hot', OLD)
    await forge('hot')

    expect(await found()).to.deep.equal({
      sql: ['hot broken 2'],
      database: ['cold broken 2', 'hot broken 2'],
      copy: ['cold broken 2'],
    })
  })

  it('are not told apart by bytes that were counted to a neighbour: a digest has 32', async () => {
    await lab.session('s', TENANT)
    // In form 1 the key comes last, so what stands in it can be read as the fields of another event.
    const at = '2026-01-01T00:00:00.000000Z'
    const fields = (...values: (string | null)[]) =>
      values.map((value) => (value === null ? '-' : `${Buffer.byteLength(value)}:${value}`)).join('')
    const key = `+${fields('1', at, 'paid', 'user:ceo', null, null, null, null)}`
    await appendInFormOne(lab.db, TENANT, 's', [{ key }])
    await lab.db.query(`select starcite.redact_event($1, 's', 1)`, [TENANT])
    expect((await found()).sql).to.deep.equal([])

    await lab.db.query('select starcite.ensure_segment($1)', [at])
    await lab.db.query(
      `update starcite.events e
          set content_digest = e.content_digest || convert_to(starcite.framed(e.seq::text)
                || starcite.framed(starcite.wire_time(e.inserted_at))
                || starcite.event_fields(e.type, e.actor, null, null, null, null), 'UTF8')`,
    )
    const { rows } = await lab.db.query<{ link: Buffer; digest: Buffer }>(
      `select e.content_digest as digest, starcite.event_link(e.seq, e.inserted_at, e.type, e.actor, null, null, null,
                                                              e.idempotency_key, substr(e.content_digest, 1, 32)) as link
         from starcite.events e`,
    )
    const link = rows[0]?.link as Buffer
    const forged = link.length - (key.length - 1)
    await lab.db.query(
      `update starcite.events e set content_digest = $1, inserted_at = $2, type = 'paid', actor = 'user:ceo', idempotency_key = null`,
      [link.subarray(0, forged), at],
    )

    expect((await found()).sql).to.deep.equal(['s broken 1'])
    expect((await found()).database).to.deep.equal(['s changed 1'])
  })

  it('are not left to chance: an append whose procedure was replaced meanwhile has to be run again', async () => {
    const sid = await lab.session('s', TENANT)
    await append('s', 1)

    const failure = await lab.db
      .query(
        `insert into starcite.events (sid, seq, inserted_at, type, actor, payload, metadata, refs, salt, content_digest, hash)
         select e.sid, 2, e.inserted_at, e.type, e.actor, e.payload, e.metadata, e.refs, e.salt, e.content_digest, e.hash
           from starcite.events e where e.sid = $1`,
        [sid],
      )
      .catch((error) => error)

    expect(failure).to.include({ code: '40001' })
  })

  it('reach objects only by jobs that know of them', async () => {
    await lab.session('s', TENANT)
    await append('s', 1)
    await lab.move()
    const { rows } = await lab.db.query<{ key: string }>('select o.key from starcite.objects o')

    for (const statement of [
      `update starcite.objects set key = key || '-1' where key = $1`,
      `insert into starcite.objects (key, tenant_id, segment, bytes, sha256, events)
       select $1 || '-2', o.tenant_id, o.segment, o.bytes, o.sha256, o.events from starcite.objects o`,
    ])
      expect(await lab.db.query(statement, [rows[0]?.key]).catch((error) => error)).to.include({
        code: '0A000',
      })
  })
})
