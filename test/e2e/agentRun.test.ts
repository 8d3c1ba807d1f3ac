import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import type { Service } from '../../src/service.ts'
import { faultsOfLog } from '../support/chain.ts'
import { call, TailClient } from '../support/client.ts'
import { memberTexts } from '../support/jsonText.ts'
import { type LiveReader, openReaders, reparsed } from '../support/liveReaders.ts'
import { startNode } from '../support/node.ts'
import { ResumingTail } from '../support/resumingTail.ts'
import { until } from '../support/until.ts'
import { useConnection, useDatabase } from '../support/useNode.ts'

const LINES = readFileSync(new URL('../data/agent-run.ndjson', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line !== '')

/** Of every third event, the third party appends a copy of its own by SQL. */
const BY_SQL = `select a.seq from starcite.append('run', 'copied', $1, 'service:billing',
  p_metadata => coalesce($2::json, '{}'), p_refs => coalesce($3::json, '{}')) a`

const KEPT = ['payload', 'metadata', 'refs']

/** The texts of the members that are to be kept, in a line that was sent or in a frame that came. */
const keptTexts = (json: string) => KEPT.map((name) => memberTexts(json).get(name))

describe('the agent run, through two nodes, while a third party appends by SQL', function () {
  this.timeout(120_000)
  const database = useDatabase()
  const db = useConnection(database)
  let nodes: Service[]
  let tails: ResumingTail[]
  let readers: LiveReader[]

  before(async () => {
    nodes = await Promise.all([startNode(database), startNode(database)])
    await call('POST', `${nodes[0]?.url}/v1/sessions`, { id: 'run' })
    tails = nodes.flatMap(({ url }) => [
      new ResumingTail(() => url, 'run'),
      new ResumingTail(() => url, 'run', { batchSize: 7 }),
    ])
    readers = nodes.flatMap(({ url }) => openReaders(url, 'run'))
    await until('every tail is open', () => tails.every((tail) => tail.connections === 1))
    await Promise.all([appendRun(), appendCopies()])
    await until('every tail has it all', () => tails.every((tail) => tail.cursor === total()))
    await until('every reader has it all', () => readers.every(({ events }) => events().length >= total()))
  })
  after(async () => {
    for (const tail of tails) tail.stop()
    for (const reader of readers) reader.stop()
    await Promise.all(nodes.map((node) => node.stop()))
  })

  const total = () => LINES.length + Math.ceil(LINES.length / 3)

  /** Event by event, on alternating nodes, as an agent behind a load balancer would. */
  async function appendRun(): Promise<void> {
    for (const [i, line] of LINES.entries()) {
      const node = nodes[i % nodes.length] as Service
      const { status, text } = await call('POST', `${node.url}/v1/sessions/run/append`, line)
      expect(status, text).to.equal(201)
    }
  }

  async function appendCopies(): Promise<void> {
    for (let i = 0; i < LINES.length; i += 3) await db.query(BY_SQL, keptTexts(LINES[i]!))
  }

  it('all tails are identical, byte for byte, without hole or repeat (I1, I3)', () => {
    const [first, ...others] = tails
    for (const tail of tails) expect(tail.faults).to.deep.equal([])
    for (const tail of others) expect(tail.events).to.deep.equal(first?.events)
    expect(first?.events.map((text) => JSON.parse(text).seq)).to.deep.equal(
      Array.from({ length: total() }, (_, i) => i + 1),
    )
  })

  it('every other transport brings the same, byte for byte: event streams, long-polls, both versions of the socket', () => {
    expect(readers.map(({ name }) => name)).to.include.members([
      'event stream',
      'long-poll',
      'socket, version 1',
      'socket, version 2',
      'Phoenix’s client',
    ])
    const expected = tails[0]?.events ?? []
    for (const { name, events, isParsed } of readers)
      expect(events(), name).to.deep.equal(isParsed ? expected.map(reparsed) : expected)
  })

  it('payload, metadata and refs come back to the letter, however they were sent (I5)', async () => {
    const events = tails[0]?.events ?? []
    const own = events.filter((text) => JSON.parse(text).type !== 'copied')
    const copies = events.filter((text) => JSON.parse(text).type === 'copied')
    const sources = [...LINES, ...LINES.filter((_, i) => i % 3 === 0)]

    for (const [i, source] of sources.entries()) {
      const frame = [...own, ...copies][i]!
      const sent = keptTexts(source)
      expect(keptTexts(frame)).to.deep.equal(sent.map((text) => text ?? '{}'))
      for (const [k, text] of sent.entries())
        if (text !== undefined) expect(source).to.include(`"${KEPT[k]}":${text}`)
      expect(JSON.parse(frame).payload).to.deep.equal(JSON.parse(source).payload)
    }
    expect(own).to.have.lengthOf(LINES.length)
  })

  it('history and a replay by either node are the same bytes (I5)', async () => {
    for (const { url } of nodes) {
      const history = await call('GET', `${url}/v1/sessions/run/events?limit=1000`)
      const replay = new TailClient(url, 'run', 'cursor=0&follow=false')
      await replay.until((tail) => tail.closed !== undefined)

      expect(history.text).to.equal(
        `{"events":[${tails[0]?.events.join(',')}],"next_cursor":${total()},"last_seq":${total()}}`,
      )
      expect(replay.frames).to.deep.equal(tails[0]?.events)
      expect(replay.closed?.code).to.equal(1000)
    }
  })

  it('every hash follows from the event and the hash before it', async () => {
    expect(await faultsOfLog(db, 'run')).to.deep.equal([])
  })

  it('the whole run sent again, to the other node each, is recognised event by event (I4)', async () => {
    const answers = []
    for (const [i, line] of LINES.entries()) {
      const { url } = nodes[(i + 1) % nodes.length] as Service
      answers.push(await call('POST', `${url}/v1/sessions/run/append`, line))
    }

    expect(answers.map(({ json }) => json.deduped)).to.deep.equal(LINES.map(() => true))
    expect(tails[0]?.cursor).to.equal(total())
  })
})
