import { createHash } from 'node:crypto'
import { gunzipSync, gzipSync } from 'node:zlib'
import { expect } from 'chai'
import { chainStep, contentDigest, eventLink, genesisHash } from '../../src/archive/chain.ts'
import { archiveLine } from '../../src/archive/line.ts'
import type { Finding } from '../../src/audit/finding.ts'
import { readKnownHashes } from '../../src/audit/verify/knownHashes.ts'
import { verifyCopy } from '../../src/audit/verify/verifyCopy.ts'
import { verifyDatabase } from '../../src/audit/verify/verifyDatabase.ts'
import { S3Store } from '../../src/objects/s3Store.ts'
import { renderEvent } from '../../src/protocol/event.ts'
import { copyOfBucket } from '../support/bucketCopy.ts'
import { S3Server } from '../support/s3Server.ts'
import { someEvents, TieringLab } from '../support/tiering.ts'
import { use } from '../support/use.ts'

/** Of each session so many events lie in a first segment, in a second, and in Postgres. */
const EACH = 30
const LAST = 3 * EACH

/** Each has objects of its own, so that what is done to one shows in no other. */
const TENANTS = [
  'default',
  'flipped',
  'edited',
  'replaced',
  'deleted',
  'shortened',
  'ténant/é.1',
  'half moved',
]

/** For a copy of an event under another seq. */
const COPY =
  'insert into starcite.events (sid, seq, inserted_at, type, actor, payload, metadata, refs, salt, content_digest, hash, chain_version)'
const ENVELOPE =
  'inserted_at, type, actor, payload, metadata, refs, salt, content_digest, hash, chain_version'

describe('audit verify', function () {
  this.timeout(120_000)
  const server = use(() => S3Server.start())
  const lab = use(() => TieringLab.open(new S3Store(server.settings)))
  const sids = new Map<string, string>()
  const sessions = [
    ...TENANTS.map((tenant) => ({ tenant, session: 'ses:"1"' })),
    ...[
      'payload',
      'removed',
      'swapped',
      'inserted',
      'head',
      'emptied',
      'redacted',
      'erased',
      'twice',
      'headless',
    ].map((session) => ({ tenant: 'default', session })),
  ]

  before(async () => {
    for (const { tenant, session } of sessions)
      sids.set(`${tenant} ${session}`, await lab.session(session, tenant))
    await lab.session('empty')
    for (const round of [1, 2]) {
      await fill(round)
      await lab.move()
    }
    await fill(3)
    for (const seq of [4, EACH + 4, LAST - 1])
      await lab.db.query(`select starcite.redact_event('default', 'redacted', $1)`, [seq])
    await lab.db.query(`select starcite.erase_session('default', 'erased')`)
    await lab
      .move({ probe: stopAtCopied })
      .then(() => expect.fail('it was not cut'))
      .catch(() => {})
  })

  async function fill(round: number) {
    const living = sessions.filter((session) => round < 4 || session.session !== 'erased')
    const events = someEvents(living, EACH)
    await lab.append(
      events.map((event) => ({
        ...event,
        ...(event.producer && { producer: [`p${round}`, event.producer[1]] as const }),
      })),
    )
  }
  /** Erases all, and copies the hot segment, but leaves it where it is. */
  function stopAtCopied(step: string) {
    if (step === 'copied') throw new Error('cut')
  }
  async function online(scope: { tenant?: string; session?: string } = {}, heads?: string) {
    const findings: Finding[] = []
    const verified = await verifyDatabase({
      db: lab.pool,
      store: lab.store,
      signal: new AbortController().signal,
      scope,
      onFinding: (finding) => findings.push(finding),
      ...(heads !== undefined && { kept: readKnownHashes(heads) }),
    })
    return { verified, findings }
  }
  async function offline(
    directory: string,
    scope: { tenant?: string; session?: string } = {},
    heads?: string,
  ) {
    const findings: Finding[] = []
    const verified = await verifyCopy({
      directory,
      signal: new AbortController().signal,
      scope,
      onFinding: (finding) => findings.push(finding),
      ...(heads !== undefined && { kept: readKnownHashes(heads) }),
    })
    return { verified, findings }
  }
  const brief = (findings: readonly Finding[]) =>
    findings.map(({ tenant, session, seq, reason }) => `${tenant} ${session} ${seq} ${reason}`).sort()
  const hashOf = async (session: string, seq: number) =>
    (
      await lab.db.query(
        `select encode(e.hash, 'hex') as hash from starcite.events e where e.sid = $1 and e.seq = $2`,
        [sids.get(`default ${session}`), seq],
      )
    ).rows[0].hash as string
  const keyOf = (tenant: string, n: number) => {
    const prefix = `${server.settings.prefix}/v1/${encodeURIComponent(tenant)}/`
    return [...server.objects.keys()].filter((key) => key.startsWith(prefix)).sort()[n] as string
  }

  const linesOf = (key: string) =>
    gunzipSync(server.objects.get(key) as Buffer)
      .toString()
      .split(/(?<=\n)/)

  it('finds nothing wrong with what is right: hot, cold, redacted, erased, half moved', async () => {
    const { verified, findings } = await online()
    const one = await online({ tenant: 'default', session: 'redacted' })
    const copy = await copyOfBucket(server.objects)
    const copied = await offline(copy.directory)
    const copiedOne = await offline(copy.directory, { tenant: 'default', session: 'redacted' })
    await copy.remove()

    expect([findings, one.findings, copied.findings, copiedOne.findings]).to.deep.equal([[], [], [], []])
    expect(verified).to.include({ sessions: sids.size + 1, events: sids.size * LAST, redacted: LAST + 3 })
    expect(one.verified).to.include({ sessions: 1, events: LAST, redacted: 3 })
    expect(copied.verified).to.include({ sessions: sids.size, events: sids.size * LAST })
    expect(copiedOne.verified).to.include({ sessions: 1, events: LAST })
  })

  it('takes the same events twice, cut differently, for once, and tells when they are not the same', async () => {
    const key = keyOf('flipped', 0)
    const objects = new Map([[key, server.objects.get(key) as Buffer]])
    const add = (text: string) => {
      const body = gzipSync(text)
      const sha256 = createHash('sha256').update(body).digest('hex')
      objects.set(key.replace(/[0-9a-f]{64}/, sha256), body)
    }
    const lines = linesOf(key)
    add(lines.slice(5, 20).join(''))
    const same = await copyOfBucket(objects)
    add(otherwise('flipped', lines.slice(0, 8)))
    const different = await copyOfBucket(objects)
    const [first, second] = [await offline(same.directory), await offline(different.directory)]
    await same.remove()
    await different.remove()

    expect(first.findings).to.deep.equal([])
    expect(brief(second.findings)).to.deep.equal(['flipped ses:"1" 1 duplicate'])
  })

  it('takes what a damaged object still has, and tells of each object of which nothing can be read', async () => {
    const key = keyOf('flipped', 0)
    const [body, lines] = [server.objects.get(key) as Buffer, linesOf(key)]
    // What an erasure that was cut leaves in a copy: the object, and the one that took its place; here, cut differently.
    const successor = gzipSync(lines.slice(5).join(''))
    const named = (hash: string) => key.replace(/[0-9a-f]{64}/, hash)
    const sha256 = createHash('sha256').update(successor).digest('hex')
    const damaged = await copyOfBucket(
      new Map([
        [key, body.subarray(0, body.length - 8)],
        [named(sha256), successor],
      ]),
    )
    const garbage = await copyOfBucket(
      new Map([
        [key, body],
        [named('a'.repeat(64)), Buffer.from('nothing')],
        [named('b'.repeat(64)), Buffer.from('of ours')],
        [key.replace('/flipped/', '/%zz/'), body],
      ]),
    )
    const [first, second] = [await offline(damaged.directory), await offline(garbage.directory)]
    await damaged.remove()
    await garbage.remove()

    expect(first.findings.map(({ reason }) => reason)).to.deep.equal(['object_changed'])
    expect(second.findings.map(({ session, seq, reason }) => [session, seq, reason])).to.deep.equal([
      ['', 0, 'object_changed'],
      ['', 0, 'object_changed'],
    ])
    expect(second.verified).to.include({ others: 1, events: EACH })
  })

  it('is not alarmed by appends, moves and erasures under it', async () => {
    for (const id of ['m1', 'm2', 'm3', 'm4']) await lab.session(id, 'moving')
    const busy = (async () => {
      for (let round = 0; round < 4; round += 1) {
        const events = someEvents(
          ['m1', 'm2', 'm3', 'm4'].map((session) => ({ tenant: 'moving', session })),
          EACH,
        )
        await lab.append(events.map(({ producer: _, ...event }) => event))
        await lab.db.query(`select starcite.redact_event('moving', 'm1', $1)`, [round * EACH + 7])
        if (round === 2) await lab.db.query(`select starcite.erase_session('moving', 'm2')`)
        if (round === 2) break
        await lab.move()
      }
      await lab.move()
      return 'done'
    })()
    let isOver = false
    busy.finally(() => {
      isOver = true
    })
    let rounds = 0
    const alarms: Finding[] = []
    while (!isOver || rounds < 3) {
      alarms.push(...(await online({ tenant: 'moving' })).findings)
      rounds += 1
    }

    expect(await busy).to.equal('done')
    expect(alarms).to.deep.equal([])
  })

  it('finds what was done to events in Postgres, by its seq', async () => {
    const [hot, last] = [LAST + 5, LAST + EACH]
    const tamper = (session: string, sql: string) =>
      lab.db.query(
        sql.replaceAll('$sid', String(sids.get(`default ${session}`))).replaceAll('$seq', String(hot)),
      )
    await fill(4)
    const head = await hashOf('head', last)
    await tamper(
      'payload',
      `update starcite.events set payload = '{"text":"forged"}' where sid = $sid and seq = $seq`,
    )
    await tamper('removed', `delete from starcite.events where sid = $sid and seq = $seq`)
    await tamper(
      'swapped',
      `update starcite.events set seq = case seq when $seq then 1000000 else $seq end where sid = $sid and seq in ($seq, $seq + 1);
       update starcite.events set seq = $seq + 1 where sid = $sid and seq = 1000000`,
    )
    await tamper(
      'inserted',
      `update starcite.events set seq = -seq - 1 where sid = $sid and seq >= $seq;
       update starcite.events set seq = -seq where sid = $sid and seq < 0;
       ${COPY} select sid, $seq, ${ENVELOPE} from starcite.events where sid = $sid and seq = $seq - 1;
       update starcite.session_heads set last_seq = last_seq + 1 where sid = $sid`,
    )
    await tamper('head', `update starcite.session_heads set last_seq = last_seq - 1 where sid = $sid`)
    await tamper(
      'emptied',
      `update starcite.events set payload = null, metadata = null, refs = null, salt = null where sid = $sid and seq = $seq`,
    )
    await tamper(
      'twice',
      `${COPY} select sid, 3, ${ENVELOPE} from starcite.events where sid = $sid and seq = $seq`,
    )

    await tamper('headless', 'delete from starcite.session_heads where sid = $sid')
    const { findings } = await online({ tenant: 'default' })
    const kept = `{"tenant_id":"default","session_id":"redacted","seq":${hot},"hash":"${'0'.repeat(64)}"}`
    const beyond = `{"tenant_id":"default","session_id":"head","seq":${last},"hash":"${head}"}`
    const gone = `{"tenant_id":"default","session_id":"gone","seq":3,"hash":"${head}"}`
    const anchored = await online({ tenant: 'default' }, `${kept}\n${beyond}\n${gone}\n`)

    const expected = [
      `default payload ${hot} changed`,
      `default removed ${hot} missing`,
      `default swapped ${hot} broken`,
      `default inserted ${hot} broken`,
      `default head ${last - 1} head`,
      `default emptied ${hot} changed`,
      `default twice 3 duplicate`,
      'default headless 0 head',
    ]
    expect(brief(findings)).to.deep.equal(expected.toSorted())
    expect(brief(anchored.findings)).to.deep.equal(
      [...expected, `default redacted ${hot} checkpoint`, 'default gone 1 checkpoint'].toSorted(),
    )
  })

  it('finds an event that Postgres has twice, however much it weighs', async () => {
    const sid = await lab.session('heavy', 'heavy')
    const payload = JSON.stringify({ text: 'x'.repeat(600_000) })
    await lab.append([1, 2].map(() => ({ tenant: 'heavy', session: 'heavy', payload })))
    const before = await online({ tenant: 'heavy' })
    await lab.db.query(`select starcite.ensure_segment(clock_timestamp() + interval '9 hours')`)
    await lab.db.query(
      `${COPY} select sid, seq, clock_timestamp() + interval '9 hours', ${ENVELOPE.slice('inserted_at, '.length)}
         from starcite.events where sid = $1 and seq = 2`,
      [sid],
    )

    expect(before.findings).to.deep.equal([])
    expect(brief((await online({ tenant: 'heavy' })).findings)).to.deep.equal(['heavy heavy 2 duplicate'])
  })

  it('finds what was done to objects, by the seq, with the database and without', async () => {
    const flipped = Buffer.from(server.objects.get(keyOf('flipped', 0)) as Buffer)
    flipped.writeUInt8(flipped.readUInt8(flipped.length >> 1) ^ 0x10, flipped.length >> 1)
    server.objects.set(keyOf('flipped', 0), flipped)
    server.objects.set(keyOf('edited', 0), edited(keyOf('edited', 0), 9))
    server.objects.set(keyOf('replaced', 1), server.objects.get(keyOf('replaced', 0)) as Buffer)
    const deleted = keyOf('deleted', 1)
    server.objects.delete(deleted)
    await shorten(keyOf('shortened', 0), 9)

    const { findings } = await online()
    const copy = await copyOfBucket(server.objects)
    const copied = await offline(copy.directory)
    await copy.remove()

    const id = 'ses:"1"'
    // Which event the flipped bit is in, chance says.
    const steady = (some: readonly Finding[]) =>
      brief(some.filter((finding) => !['default', 'heavy'].includes(finding.tenant))).map((line) =>
        line.replace(/^(flipped .*) \d+ /, '$1 ? '),
      )
    expect(steady(findings)).to.deep.equal([
      `deleted ${id} ${EACH + 1} object_missing`,
      `edited ${id} 9 object_changed`,
      `flipped ${id} ? object_changed`,
      `replaced ${id} ${EACH + 1} object_changed`,
      `shortened ${id} 9 missing`,
    ])
    expect(steady(copied.findings)).to.deep.equal([
      `deleted ${id} ${EACH + 1} missing`,
      `edited ${id} 9 object_changed`,
      `flipped ${id} ? object_changed`,
      `replaced ${id} 1 object_changed`,
      `shortened ${id} 9 missing`,
    ])
  })

  /** Other events in place of these, with a chain that is right in itself. */
  function otherwise(tenant: string, lines: readonly string[]): string {
    let hash = genesisHash(tenant, 'ses:"1"')
    return lines
      .map((line) => {
        const { seq, actor, inserted_at: insertedAt } = JSON.parse(line)
        const none = {
          subject: null,
          source: null,
          producerId: null,
          producerSeq: null,
          idempotencyKey: null,
        }
        const event = { ...none, chainVersion: 2 as const, seq, actor, insertedAt, type: 'forged' }
        const content = { payload: '{"forged":true}', metadata: '{}', refs: '{}' }
        const salt = Buffer.alloc(16)
        const digest = contentDigest(salt, content.payload, content.metadata, content.refs)
        hash = chainStep(2, hash, eventLink({ ...event, contentDigest: digest }))
        return archiveLine('ses:"1"', {
          rendered: renderEvent({ ...event, ...content }),
          salt: salt.toString('hex'),
          contentDigest: digest.toString('hex'),
          hash: hash.toString('hex'),
          chainVersion: 2,
        })
      })
      .join('')
  }

  /** An object with a space more in the payload of one event, compressed again. */
  function edited(key: string, seq: number): Buffer {
    const text = gunzipSync(server.objects.get(key) as Buffer).toString()
    return gzipSync(text.replace(new RegExp(`^(\\{"seq":${seq},.*"payload":)`, 'm'), '$1 '))
  }

  /** An object without one of its lines, compressed again, under the name that its bytes ask for, and a manifest to match. */
  async function shorten(key: string, seq: number) {
    const body = server.objects.get(key) as Buffer
    const lines = gunzipSync(body).toString().split('\n')
    const shorter = gzipSync(lines.filter((line) => !line.startsWith(`{"seq":${seq},`)).join('\n'))
    const sha256 = createHash('sha256').update(shorter).digest('hex')
    const name = key.replace(/[0-9a-f]{64}/, sha256)
    server.objects.delete(key)
    server.objects.set(name, shorter)
    const prefix = `${server.settings.prefix}/`
    await lab.db.query(`select set_config('starcite.archive_format', '2', false)`)
    await lab.db.query(
      `with o as (update starcite.objects set key = $2, bytes = $3, sha256 = decode($4, 'hex') where key = $1 returning object_id)
       update starcite.slices s set bytes = $3, sha256 = decode($4, 'hex') from o where s.object_id = o.object_id`,
      [key.slice(prefix.length), name.slice(prefix.length), shorter.length, sha256],
    )
  }
})
