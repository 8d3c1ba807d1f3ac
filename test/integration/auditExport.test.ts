import { readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { expect } from 'chai'
import { renderedEventOfLine } from '../../src/archive/line.ts'
import { CSV } from '../../src/audit/export/csv.ts'
import { exportEvents } from '../../src/audit/export/exportEvents.ts'
import type { Format } from '../../src/audit/export/format.ts'
import { NDJSON } from '../../src/audit/export/ndjson.ts'
import { type Selection, UnreadableError } from '../../src/audit/read/selection.ts'
import { openOutput } from '../../src/cli/audit/outputFile.ts'
import { S3Store } from '../../src/objects/s3Store.ts'
import { S3Server } from '../support/s3Server.ts'
import { makeScratch } from '../support/scratch.ts'
import { someEvents, TieringLab } from '../support/tiering.ts'
import { use } from '../support/use.ts'

/** In the order of an export: bytewise, which is not the order in which they are made. */
const SESSIONS = [
  ['acme', 'ses-z'],
  ['default', 'A,"b"\r\nc'],
  ['default', 'a'],
  ['default', 'é'],
] as const
const EACH = 40
const HALF = EACH / 2

describe('audit export', function () {
  this.timeout(120_000)
  const server = use(() => S3Server.start())
  const lab = use(() => TieringLab.open(new S3Store(server.settings)))
  let folder: string
  const sids: string[] = []
  /** Between the first and the second segment, and between the second and what is in Postgres. */
  const bounds: string[] = []
  /** Of a session that was all in Postgres: events before, and from, its middle. */
  const hotHalves: number[] = []

  before(async () => {
    folder = await makeScratch('export')
    for (const [tenant, session] of SESSIONS.toReversed()) sids.unshift(await lab.oldSession(session, tenant))
    for (const round of [1, 2, 3]) {
      const events = someEvents(
        SESSIONS.map(([tenant, session]) => ({ tenant, session })),
        EACH,
      )
      const ofRound = events.map((event) => ({
        ...event,
        ...(event.producer && { producer: [`p${round}`, event.producer[1]] as const }),
      }))
      // In two calls, for events of one have the same time.
      await lab.append(ofRound.slice(0, ofRound.length / 2))
      await lab.append(ofRound.slice(ofRound.length / 2))
      if (round === 1) {
        const middle = JSON.parse((await lab.read(sids[2] as string))[HALF] as string).inserted_at
        for (const half of [{ to: middle }, { from: middle }])
          hotHalves.push(linesOf(await exported(NDJSON, { tenant: 'default', session: 'a', ...half })).length)
      }
      if (round === 3) break
      await lab.move()
      const { rows } = await lab.db.query(`select starcite.wire_time(g.to_at) as at from starcite.segments g
        where g.state in ('moved', 'dropped') order by g.to_at desc limit 1`)
      bounds.push(rows[0].at)
    }
    await lab.db.query(`select starcite.redact_event('default', 'a', 3)`) // still in its object
  })
  after(async () => {
    await rm(folder, { recursive: true, force: true })
  })

  const everything: Selection = { types: new Set(), actors: new Set() }
  async function exported(format: Format, selection: Partial<Selection> = {}): Promise<string> {
    const pieces: Buffer[] = []
    await exportEvents({
      ...{ db: lab.pool, store: lab.store, signal: new AbortController().signal, format },
      selection: { ...everything, ...selection },
      write: async (bytes) => void pieces.push(bytes),
    })
    return Buffer.concat(pieces).toString()
  }
  const linesOf = (text: string) => text.trimEnd().split('\n')
  const brief = (text: string) =>
    linesOf(text).map((line) => {
      const { tenant_id, session_id, seq } = JSON.parse(line)
      return [tenant_id, session_id, seq]
    })

  it('has every event once, in order, with the bytes that readers are shown', async () => {
    const lines = linesOf(await exported(NDJSON))

    expect(brief(lines.join('\n'))).to.deep.equal(
      SESSIONS.flatMap(([tenant, session]) =>
        Array.from({ length: 3 * EACH }, (_, i) => [tenant, session, i + 1]),
      ),
    )
    const frames = lines.map((line, i) => renderedEventOfLine(line, (i % (3 * EACH)) + 1).text)
    const shown = await Promise.all(sids.map((sid) => lab.read(sid)))
    expect(frames).to.deep.equal(shown.flat())
  })

  it('has what was asked for alone: tenant, session, type, actor', async () => {
    const some = await exported(NDJSON, {
      tenant: 'default',
      types: new Set(['state', 'none']),
      actors: new Set(['agent:ä']),
    })
    const one = await exported(NDJSON, { tenant: 'default', session: 'é' })

    const wanted = Array.from({ length: 3 * EACH }, (_, i) => i).filter(
      (i) => (i % EACH) % 5 === 0 && (i % EACH) % 3 !== 0,
    )
    expect(brief(some)).to.deep.equal(
      SESSIONS.slice(1).flatMap(([tenant, session]) => wanted.map((i) => [tenant, session, i + 1])),
    )
    expect(brief(one).length).to.equal(3 * EACH)
    expect(await exported(NDJSON, { tenant: 'nobody' })).to.equal('')
  })

  it('keeps to a time, and reads no object outside of it', async () => {
    const [first = '', second = ''] = bounds
    const seqs = async (selection: Partial<Selection>) => {
      const before = server.requests.length
      const text = await exported(NDJSON, { tenant: 'default', ...selection })
      const objects = new Set(server.requests.slice(before).map((request) => request.key)).size
      const ofA = text === '' ? [] : brief(text).filter(([, session]) => session === 'a')
      return { from: ofA[0]?.[2], to: ofA.at(-1)?.[2], events: ofA.length, objects }
    }
    const at = async (seq: number) =>
      JSON.parse((await lab.read(sids[2] as string))[seq - 1] as string).inserted_at

    expect(await seqs({ from: first, to: second })).to.deep.equal({
      from: EACH + 1,
      to: 2 * EACH,
      events: EACH,
      objects: 1,
    })
    expect(await seqs({ to: first })).to.include({ from: 1, to: EACH, objects: 1 })
    expect(await seqs({ from: second })).to.include({ from: 2 * EACH + 1, to: 3 * EACH, objects: 0 })
    expect(await seqs({ from: await at(HALF + 1), to: await at(EACH + 1) })).to.include({
      from: HALF + 1,
      to: EACH,
      objects: 1,
    })
    expect(await seqs({ to: await at(HALF + 1) })).to.include({ from: 1, to: HALF, objects: 1 })
    expect(hotHalves).to.deep.equal([HALF, HALF])
    expect(await seqs({ from: '2100-01-01T00:00:00.000000Z' })).to.include({ events: 0, objects: 0 })
  })

  it('writes CSV as RFC 4180 says', async () => {
    const text = await exported(CSV, { tenant: 'default', session: 'A,"b"\r\nc' })

    const [first = ''] = text.split('\r\n"A')
    expect(first).to.match(
      /^default,"A,""b""\r\nc",1,20\d\d-.*Z,state,user:u,p1,1,key 0,web,\{\},"\{""a"": \[1, {2}2\]\}","\{ ""r"":""\\u00e9"" \}",false,[0-9a-f]{64},[0-9a-f]{64},cold,[0-9a-f]{32},2,\r\ndefault,/,
    )
    expect(text).to.include(',"{\n  ""text"": ""over lines"",\r\n  ""n"": 12345678901234567890.00\n}",')
    const redacted = (await exported(CSV, { tenant: 'default', session: 'a' })).split('\r\n')
    expect(redacted[2]).to.match(
      /^default,a,3,.*,content,agent:ä,,,,,,,,true,[0-9a-f]{64},[0-9a-f]{64},cold,,2,$/,
    )
  })

  for (const format of [NDJSON, CSV])
    it(`goes on where it was cut, at any byte: ${format.name}`, async () => {
      const whole = Buffer.from(format.head + (await exported(format)))
      const file = path.join(folder, `cut.${format.name}`)
      const cuts = [0, 1, format.head.length, format.head.length + 1, whole.length - 1, whole.length]
      for (let cut = 1; cut < 12; cut += 1) cuts.push(Math.floor((whole.length * cut) / 12))
      cuts.push(whole.indexOf('over lines') + 14) // behind a line feed in quotes

      for (const cut of cuts) {
        await writeFile(file, whole.subarray(0, cut))
        const output = await openOutput(file, format, true)
        await exportEvents({
          ...{ db: lab.pool, store: lab.store, signal: new AbortController().signal, format },
          selection: everything,
          after: output.cursor,
          write: (bytes) => output.write(bytes),
        })
        await output.close()
        expect((await readFile(file)).equals(whole), `cut at ${cut} of ${whole.length}`).to.equal(true)
      }
    })

  it('is complete although segments move under it', async () => {
    for (const id of ['n1', 'n2', 'n3']) await lab.session(id, 'moving')
    const counts = new Set<number>()
    for (let round = 1; round <= 3; round += 1) {
      await lab.append(
        someEvents(
          ['n1', 'n2', 'n3'].map((session) => ({ tenant: 'moving', session })),
          EACH,
        ).map(({ producer: _, ...event }) => event),
      )
      let isMoved = false
      const moving = lab.move().finally(() => {
        isMoved = true
      })
      do counts.add(brief(await exported(NDJSON, { tenant: 'moving' })).length / round)
      while (!isMoved)
      await moving
    }

    expect([...counts]).to.deep.equal([3 * EACH])
  })

  it('fails at an event that cannot be had, having written those before', async () => {
    const key = [...server.objects.keys()].find((key) => key.includes('/acme/')) as string
    const body = server.objects.get(key) as Buffer
    server.objects.delete(key)
    const failure = await exported(NDJSON, { tenant: 'acme' }).catch((error) => error)
    server.objects.set(key, body)

    expect(failure).to.be.instanceOf(UnreadableError)
    expect(failure.message).to.match(
      /^event \d+ of session ses-z of tenant acme cannot be read: there is no object v1\/acme/,
    )
  })
})
