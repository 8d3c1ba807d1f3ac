import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { pause } from '../../src/lib/backoff.ts'
import type { ObjectStore } from '../../src/objects/objectStore.ts'
import { S3Store } from '../../src/objects/s3Store.ts'
import { createLog } from '../../src/ops/log.ts'
import { ColdReader } from '../../src/tiering/cold/coldReader.ts'
import { appendEvents, type EventItem } from '../support/appendEvents.ts'
import { memberTexts } from '../support/jsonText.ts'
import { IS_NIGHTLY } from '../support/nightly.ts'
import { TEST_S3, TEST_S3_START_MS, testS3 } from '../support/s3.ts'
import { connect } from '../support/template.ts'
import { READINGS, type Reading, sha256, someEvents, TieringLab } from '../support/tiering.ts'
import { until } from '../support/until.ts'

const EVENTS = IS_NIGHTLY ? 200_000 : 6_000
const READERS = 8
const SESSIONS = IS_NIGHTLY ? 500 : 60
const TENANTS = ['default', 'acme', 'müller & söhne']
const MORE_EVENTS = 2
/** The job waits at each of its steps until readers have read so many pages more. */
const PAGES_PER_STEP = 5
const AGENT_RUN = readFileSync(new URL('../data/agent-run.ndjson', import.meta.url), 'utf8')
  .trim()
  .split('\n')

function agentRun(): EventItem[] {
  return AGENT_RUN.map((line) => {
    const { type, actor, source, producer_id, producer_seq, idempotency_key } = JSON.parse(line)
    const texts = memberTexts(line)
    return {
      session: 'run',
      type,
      actor,
      source,
      key: idempotency_key,
      payload: texts.get('payload') as string,
      metadata: texts.get('metadata') ?? '{}',
      refs: texts.get('refs') ?? '{}',
      ...(producer_id && { producer: [producer_id, producer_seq] as const }),
    }
  })
}

/** What a reading must show of a session, given all of it. */
function expected(frames: readonly string[], { type, actor }: Reading): string[] {
  return frames.filter((frame) => {
    const event = JSON.parse(frame)
    return (!type || event.type === type) && (!actor || event.actor === actor)
  })
}

let lab: TieringLab

function suite(name: string, openStore: () => Promise<ObjectStore | undefined>): void {
  it(`${EVENTS + AGENT_RUN.length} events of ${SESSIONS + 1} sessions have the same SHA-256 hot, while they move, and cold, in ${name} (I3, I5, I6)`, async function () {
    this.timeout(TEST_S3_START_MS + EVENTS * 5)
    lab = await TieringLab.open(await openStore())
    await lab.db.query(`update starcite.settings s set value = '2 seconds' where s.name = 'segment_interval'`)
    await lab.db.query(`update starcite.settings s set value = '1 day' where s.name = 'hot_retention'`)
    const sessions = Array.from({ length: SESSIONS }, (_, n) => ({
      session: `ses ${n}`,
      tenant: TENANTS[n % TENANTS.length] as string,
    }))
    const sids = [await lab.session('run')]
    for (const { session, tenant } of sessions) sids.push(await lab.session(session, tenant))
    const ordinal = { n: 0 }

    // Hot: over at least three segments.
    await lab.append(agentRun())
    const perRound = Math.ceil(EVENTS / SESSIONS / 3)
    for (let round = 0; round < 3; round += 1) {
      await lab.append(inRounds(sessions, perRound, ordinal))
      await until('its segment is over', () => isOver(lab))
    }
    const hot = new Map<string, string[]>()
    await eachOf(sids, async (sid) => hot.set(sid, await lab.read(sid)))
    expect((await lab.segments()).length).to.be.at.least(3)

    // While they move: two nodes' jobs, a tail of every session, pages in every order, and appends.
    const tails = sids.map((sid) => lab.follow(sid))
    await lab.db.query(`update starcite.settings s set value = '0 seconds' where s.name = 'hot_retention'`)
    let [pages, isReading] = [0, true]
    const probe = async () => {
      const until = pages + PAGES_PER_STEP
      while (isReading && pages < until) await pause(1)
    }
    const jobs = [lab.job({ intervalMs: 50, probe }), lab.job({ intervalMs: 50, probe })]
    for (const job of jobs) job.start()
    const writer = await connect(lab.database)
    const appending = (async () => {
      for (const session of sessions)
        await appendEvents(writer, Array(MORE_EVENTS).fill({ ...session, type: 'more' }))
      await writer.end()
    })()
    const readings = Object.entries(READINGS)
    const isMoved = async () => (await lab.count('events')) <= SESSIONS * MORE_EVENTS
    while (!(await isMoved())) {
      const sid = sids[(pages * 7) % sids.length] as string
      const [what, reading] = readings[pages % readings.length] as (typeof readings)[number]
      const frames = hot.get(sid) as string[]
      const shown = await lab.read(sid, reading)
      const want = expected(frames, reading)
      expect(sha256(shown.slice(0, want.length)), `${what}, session ${sid}`).to.equal(sha256(want))
      pages += 1
    }
    isReading = false
    await appending
    for (const [i, tail] of tails.entries()) {
      const frames = hot.get(sids[i] as string) as string[]
      await tail.has(frames.length + (i === 0 ? 0 : MORE_EVENTS))
      expect(tail.faults).to.deep.equal([])
      expect(sha256(tail.frames.slice(0, frames.length))).to.equal(sha256(frames))
      await tail.stop()
    }
    await until('all segments that can be are gone', async () => (await lab.count('events')) === 0)
    for (const job of jobs) await job.stop()
    expect(pages).to.be.above(20)

    // Cold: with an empty cache.
    const cold = new ColdReader({
      db: lab.pool,
      store: lab.store,
      cacheBytes: 2 ** 20,
      log: createLog('silent'),
      metrics: lab.metrics,
    })
    const digests = new Map<string, string>()
    await eachOf(sids, async (sid) => {
      const frames: string[] = []
      for (let slice = await cold.sliceAt(sid, 1); slice; slice = await cold.sliceAt(sid, frames.length + 1))
        frames.push(...slice.map(({ text }) => text))
      digests.set(sid, sha256(frames))
    })
    expect(sids.map((sid) => digests.get(sid))).to.deep.equal(tails.map(({ frames }) => sha256(frames)))
  })
}

/** A few at a time: hundreds at once wait for one another's connections until they give up. */
async function eachOf(sids: readonly string[], read: (sid: string) => Promise<unknown>): Promise<void> {
  const rest = sids.values()
  const reader = async () => {
    for (const sid of rest) await read(sid)
  }
  await Promise.all(Array.from({ length: READERS }, reader))
}

/** Another `count` events for each session; no producer's numbers are used twice. */
function inRounds(
  sessions: readonly { session: string; tenant: string }[],
  count: number,
  ordinal: { n: number },
): EventItem[] {
  ordinal.n += 1
  return someEvents(sessions, count).map((event) => ({
    ...event,
    ...(event.producer && { producer: [`${event.producer[0]} ${ordinal.n}`, event.producer[1]] as const }),
  }))
}

async function isOver({ db }: TieringLab): Promise<boolean> {
  const { rows } = await db.query(
    'select bool_and(g.to_at <= clock_timestamp()) as it from starcite.segments g',
  )
  return rows[0].it
}

describe('segments of two seconds, moving under readers and writers', () => {
  afterEach(() => lab.close())

  suite('a table in Postgres', async () => undefined)

  suite(`S3, ${TEST_S3}`, async () => {
    const settings = await testS3()
    return new S3Store({ ...settings, prefix: `${settings.prefix}/under-readers` })
  })
})
