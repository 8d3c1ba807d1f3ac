import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { call, TailClient } from '../support/client.ts'
import { IS_NIGHTLY } from '../support/nightly.ts'
import { type NodeProcess, spawnNode, startNode } from '../support/node.ts'
import type { FreshDatabase } from '../support/postgres.ts'
import { ResumingTail } from '../support/resumingTail.ts'
import { bound } from '../support/slack.ts'
import { migratedDatabase } from '../support/template.ts'
import { timed, until } from '../support/until.ts'

const STALLED = 50
/** Of 20 events of 200 KB each. */
const ROUNDS = IS_NIGHTLY ? 15 : 6
/** What is kept per slow reader (I8): a page in the socket, and one read ahead, of 256 KiB each or one event. */
const PER_READER_MB = 2.5

describe('readers that do not keep up', function () {
  this.timeout(120_000)
  let database: FreshDatabase

  before(async () => {
    database = await migratedDatabase()
  })
  after(() => database.drop())

  async function newSession(url: string): Promise<string> {
    return (await call('POST', `${url}/v1/sessions`, {})).json.id
  }

  async function append(url: string, id: string, events: number, bytes: number): Promise<void> {
    for (let from = 0; from < events; from += 20) {
      const batch = Array.from({ length: Math.min(20, events - from) }, (_, i) => ({
        type: 'big',
        payload: { n: from + i + 1, text: 'x'.repeat(bytes) },
      }))
      const { status, text } = await call('POST', `${url}/v1/sessions/${id}/events`, { events: batch })
      expect(status, text).to.equal(201)
    }
  }

  async function residentMb({ child }: NodeProcess): Promise<number> {
    const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => undefined)
    if (status !== undefined) return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024
    const { stdout } = await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(child.pid)])
    return Number(stdout) / 1024
  }

  it('cost their node a page each, skip nothing, and delay no other reader', async () => {
    const node = await spawnNode(database)
    const id = await newSession(node.url)
    await append(node.url, id, 20, 1000) // warm
    const stalled = Array.from({ length: STALLED }, () => new TailClient(node.url, id, 'cursor=0'))
    for (const tail of stalled) tail.socket.on('open', () => tail.socket.pause())
    const keen = new ResumingTail(() => node.url, id)
    await until('all are open', async () =>
      (await call('GET', `${node.url}/metrics`)).text.includes(`starcite_tails ${STALLED + 1}\n`),
    )
    const before = await residentMb(node)

    // 24 MB of log by day: to buffer it for each of the stalled would take 1.2 GB.
    let peak = 0
    for (let round = 0; round < ROUNDS; round += 1) {
      await append(node.url, id, 20, 200_000)
      peak = Math.max(peak, await residentMb(node))
    }
    const { ms } = await timed(until('the keen one has it all', () => keen.cursor === 20 + 20 * ROUNDS))
    peak = Math.max(peak, await residentMb(node))
    for (const tail of stalled.slice(0, 3)) tail.socket.resume()
    await Promise.all(
      stalled.slice(0, 3).map((tail) => tail.until(({ frames }) => frames.length === 20 + 20 * ROUNDS)),
    )

    if (process.env.STARCITE_TEST_FIGURES)
      console.log(`resident: ${Math.round(before)} MB before, ${Math.round(peak)} MB at most`)
    // Garbage, the ring and the bodies of the appends come on top of the readers' pages.
    expect(peak - before).to.be.below((STALLED * PER_READER_MB + 250) * (IS_NIGHTLY ? 1 : 2))
    expect(ms).to.be.below(bound(10_000))
    expect(keen.faults).to.deep.equal([])
    expect(keen.connections).to.equal(1)
    for (const tail of stalled.slice(0, 3)) {
      expect(tail.closed).to.equal(undefined)
      expect(tail.frames).to.deep.equal(keen.events)
    }
    for (const tail of stalled) tail.close()
    keen.stop()
    expect((await node.kill('SIGTERM')).code).to.equal(0)
  })

  it('are sent away with 1013 after taking nothing for the stall time-out, and resume by cursor', async () => {
    const node = await startNode(database, { STARCITE_STALL_TIMEOUT: '500ms' })
    const id = await newSession(node.url)
    const slow = new TailClient(node.url, id, 'cursor=0')
    slow.socket.on('open', () => slow.socket.pause())
    const keen = new ResumingTail(() => node.url, id)
    await until('both are open', () => slow.socket.readyState === WebSocket.OPEN && keen.connections === 1)

    await append(node.url, id, 60, 200_000)
    await until('the keen one has it all', () => keen.cursor === 60)
    await until('the node has given the other up', async () =>
      (await call('GET', `${node.url}/metrics`)).text.includes('starcite_tails 1\n'),
    )
    slow.socket.resume()
    await slow.until(({ closed }) => closed !== undefined)
    const back = new TailClient(node.url, id, `cursor=${slow.frames.length}`)
    await back.until(({ frames }) => slow.frames.length + frames.length >= 60)

    expect([1013, 1006]).to.include(slow.closed?.code) // 1006: its connection was cut before it read the goodbye
    expect([...slow.frames, ...back.frames]).to.deep.equal(keen.events)
    back.close()
    keen.stop()
    await node.stop()
  })

  it('are not sent away while they take something, however slowly', async () => {
    const node = await startNode(database, { STARCITE_STALL_TIMEOUT: '700ms' })
    const id = await newSession(node.url)
    await append(node.url, id, 40, 200_000)
    const slow = new TailClient(node.url, id, 'cursor=0')
    // A sip every 60 ms: far slower than the node could send.
    let reading = true
    slow.socket.on('message', () => {
      slow.socket.pause()
      setTimeout(() => reading && slow.socket.resume(), 60)
    })

    await slow.until(({ frames }) => frames.length === 40)

    expect(slow.closed).to.equal(undefined)
    expect(slow.frames.map((frame) => JSON.parse(frame).seq)).to.deep.equal(
      Array.from({ length: 40 }, (_, i) => i + 1),
    )
    reading = false
    slow.close()
    await node.stop()
  })
})

describe('a peer', () => {
  const PING_MS = 200
  let database: FreshDatabase

  before(async () => {
    database = await migratedDatabase()
  })
  after(() => database.drop())

  it('that does not answer two pings is dropped; one that does lives, however quiet', async () => {
    const node = await startNode(database, { STARCITE_PING_INTERVAL: `${PING_MS}ms` })
    const { id } = (await call('POST', `${node.url}/v1/sessions`, {})).json
    const url = `${node.url.replace('http', 'ws')}/v1/sessions/${id}/tail`
    const mute = new WebSocket(url, { autoPong: false })
    const quiet = new TailClient(node.url, id, 'cursor=0')
    let pings = 0
    quiet.socket.on('ping', () => {
      pings += 1
    })
    mute.on('error', () => {})

    const { value: code, ms } = await timed(
      new Promise<number>((resolve) => mute.on('close', (code) => resolve(code))),
    )
    await until('the other was pinged on', () => pings >= 12)
    await call('POST', `${node.url}/v1/sessions/${id}/append`, { type: 't', payload: {} })
    await quiet.until(({ frames }) => frames.length === 1)

    expect(code).to.equal(1006)
    expect(ms).to.be.within(2 * PING_MS, bound(6 * PING_MS))
    expect(quiet.closed).to.equal(undefined)
    quiet.close()
    await node.stop()
  })
})
