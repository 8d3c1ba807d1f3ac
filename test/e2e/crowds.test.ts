import { readFile } from 'node:fs/promises'
import { expect } from 'chai'
import { call } from '../support/client.ts'
import { IS_NIGHTLY } from '../support/nightly.ts'
import { freePort, type NodeProcess, spawnNode } from '../support/node.ts'
import { RawConnection } from '../support/rawHttp.ts'
import { SLACK_MS } from '../support/slack.ts'
import { TailCrowd } from '../support/tailCrowd.ts'
import { TcpProxy } from '../support/tcpProxy.ts'
import { timed, until } from '../support/until.ts'
import { useDatabase } from '../support/useNode.ts'

const TAILS = IS_NIGHTLY ? 2000 : 400
/** The node's own bound, and what a loaded machine adds. */
const APPEND_BOUND_MS = 5000 + SLACK_MS

describe(`${TAILS} tails on one node`, function () {
  this.timeout(120_000)
  const database = useDatabase()
  let node: NodeProcess
  let port: string
  let crowd: TailCrowd

  before(async () => {
    port = String(await freePort())
  })
  beforeEach(async () => {
    node = await spawnNode(database, { PORT: port })
    crowd = new TailCrowd()
  })
  afterEach(async () => {
    crowd.destroy()
    await node.kill('SIGKILL')
  })

  const newSession = async (): Promise<string> => (await call('POST', `${node.url}/v1/sessions`, {})).json.id
  const append = (id: string, bytes = 10) =>
    timed(
      call('POST', `${node.url}/v1/sessions/${id}/append`, {
        type: 't',
        payload: { text: 'x'.repeat(bytes) },
      }),
    )
  async function residentMb(): Promise<number> {
    const status = await readFile(`/proc/${node.child.pid}/status`, 'utf8')
    return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024
  }
  const tails = async () =>
    Number(/^starcite_tails (\d+)/m.exec((await call('GET', `${node.url}/metrics`)).text)?.[1])

  it('that stop reading cost it bounded memory, delay no other client, and leave nothing behind (I8)', async function () {
    if (process.platform !== 'linux') this.skip() // memory is read from /proc
    const id = await newSession()
    await crowd.open(node.url, id, Array(TAILS).fill(0))
    expect(crowd.states).to.deep.equal({ open: TAILS })
    crowd.stopReading()
    const keen = new TailCrowd()
    await keen.open(node.url, id, [0])
    const before = await residentMb()

    let [peak, slowestMs] = [0, 0]
    for (let i = 0; i < 16; i += 1) {
      const { value, ms } = await append(id, 200_000)
      expect(value.status).to.equal(201)
      slowestMs = Math.max(slowestMs, ms)
      peak = Math.max(peak, await residentMb())
    }
    const other = await append(await newSession())
    await until('one that reads has it all', () => keen.haveAll(16))
    crowd.destroy()
    keen.destroy()
    await until('the node has let go of them', async () => (await tails()) === 0)

    if (process.env.STARCITE_TEST_FIGURES)
      console.log(
        `resident: ${Math.round(before)} MB before, ${Math.round(peak)} at most; slowest ${slowestMs}`,
      )
    // The whole log is 3.2 MB, so buffered for each of them it would be five times as much.
    expect(peak - before).to.be.below(TAILS * 0.6)
    expect(Math.max(slowestMs, other.ms)).to.be.below(APPEND_BOUND_MS)
    expect([...crowd.faults, ...keen.faults]).to.deep.equal([])
  })

  it('that come back all at once, from wherever they were, are served, and appends beside them (I3)', async () => {
    const id = await newSession()
    const events = Array.from({ length: 200 }, (_, n) => ({ type: 't', payload: { n } }))
    await call('POST', `${node.url}/v1/sessions/${id}/events`, { events })
    await crowd.open(node.url, id, Array(TAILS).fill(200))
    await append(id)
    await until('all have what was appended', () => crowd.haveAll(201))
    await node.kill('SIGKILL')
    crowd.destroy()
    node = await spawnNode(database, { PORT: port })

    const back = new TailCrowd()
    const opening = timed(
      back.open(
        node.url,
        id,
        crowd.members.map((_, i) => (i % 10 === 0 ? i % 200 : 201)),
      ),
    )
    const during = await append(id)
    const { ms } = await opening
    await append(id)
    await until('all have it all', () => back.haveAll(203))

    if (process.env.STARCITE_TEST_FIGURES) console.log(`all back in ${ms} ms, an append took ${during.ms} ms`)
    // On a machine that is too slow for all at once some get 503, and reconnect.
    expect(back.members.flatMap(({ refused }) => refused).filter((status) => status !== 503)).to.deep.equal(
      [],
    )
    expect(back.states).to.deep.equal({ open: TAILS })
    expect(during.value.status).to.equal(201)
    expect(during.ms).to.be.below(APPEND_BOUND_MS)
    expect([...crowd.faults, ...back.faults]).to.deep.equal([])
    back.destroy()
  })

  it('half open, their machines gone without a word, are let go after two pings', async () => {
    await node.kill('SIGKILL')
    node = await spawnNode(database, { PORT: port, STARCITE_PING_INTERVAL: '500ms' })
    const id = await newSession()
    const proxy = await TcpProxy.start(node)
    await crowd.open(proxy.url, id, Array(200).fill(0))
    await until('they are open', async () => (await tails()) === 200)

    proxy.silence()
    const { ms } = await timed(until('the node has let go of them', async () => (await tails()) === 0))

    expect(ms).to.be.below(6 * 500 + SLACK_MS)
    expect((await append(id)).value.status).to.equal(201)
    await proxy.stop()
  })

  it('among which one floods it with pings are served all the same', async () => {
    const id = await newSession()
    await crowd.open(node.url, id, Array(100).fill(0))
    const flooder = await RawConnection.open(node.url)
    flooder.send(
      `GET /v1/sessions/${id}/tail HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
    )
    await until('it is open', () => flooder.received.includes('101'))
    flooder.socket.removeAllListeners('data').resume() // it takes its pongs, so it is no slow reader
    const pings = Buffer.concat(Array.from({ length: 1000 }, () => Buffer.from([0x89, 0x80, 0, 0, 0, 0])))
    let [flooding, sent] = [true, 0]
    const flood = () => {
      if (!flooding || flooder.ended) return
      sent += 1000
      flooder.socket.write(pings, () => setImmediate(flood))
    }
    flood()

    const answers = []
    for (let i = 0; i < 30; i += 1) answers.push(await append(id))
    await until('all have it all', () => crowd.haveAll(30))
    flooding = false

    if (process.env.STARCITE_TEST_FIGURES)
      console.log(`${sent} pings; slowest append ${Math.max(...answers.map(({ ms }) => ms))} ms`)
    expect(answers.map(({ value }) => value.status)).to.deep.equal(answers.map(() => 201))
    expect(Math.max(...answers.map(({ ms }) => ms))).to.be.below(APPEND_BOUND_MS)
    expect(sent).to.be.above(1000)
    expect(crowd.faults).to.deep.equal([])
    flooder.destroy()
  })
})
