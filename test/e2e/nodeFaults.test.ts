import { once } from 'node:events'
import { connect as connectTo, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { faultsOfLog } from '../support/chain.ts'
import { type Answer, call } from '../support/client.ts'
import { type NodeProcess, spawnNode } from '../support/node.ts'
import { ResumingTail } from '../support/resumingTail.ts'
import { bound } from '../support/slack.ts'
import { timed, until } from '../support/until.ts'
import { useConnection, useDatabase } from '../support/useNode.ts'

describe('a node whose machine fails it', function () {
  this.timeout(120_000)
  const database = useDatabase()
  const db = useConnection(database)
  let node: NodeProcess | undefined
  let tails: ResumingTail[]
  let sockets: Socket[]

  beforeEach(() => {
    tails = []
    sockets = []
  })
  afterEach(async () => {
    for (const tail of tails) tail.stop()
    for (const socket of sockets) socket.destroy()
    await node?.kill('SIGKILL')
  })

  const newSession = async (url: string): Promise<string> =>
    (await call('POST', `${url}/v1/sessions`, {})).json.id
  const append = (url: string, id: string): Promise<Answer> =>
    call('POST', `${url}/v1/sessions/${id}/append`, { type: 't', payload: {} })
  function tailOf(url: string, id: string): ResumingTail {
    const tail = new ResumingTail(() => url, id)
    tails.push(tail)
    return tail
  }

  it('by stopping it for seconds delays no other node, and every request is answered when it goes on (I1 to I3, I9)', async () => {
    const STALL_MS = 4000
    const settings = { STARCITE_STORAGE_TIMEOUT: '1s', STARCITE_PING_INTERVAL: '1s' }
    const stalled = await spawnNode(database, settings)
    node = stalled
    const other = await spawnNode(database, settings)
    try {
      const id = await newSession(stalled.url)
      const [onStalled, onOther] = [tailOf(stalled.url, id), tailOf(other.url, id)]
      const acknowledged: number[] = []
      let running = true
      const load = Array.from({ length: 6 }, async () => {
        while (running) {
          const { status, json, text } = await append(stalled.url, id)
          expect([201, 503], text).to.include(status)
          if (status === 201) acknowledged.push(json.seq)
        }
      })
      await until('there is load', () => acknowledged.length > 50)

      stalled.child.kill('SIGSTOP')
      const meanwhile: { value: Answer; ms: number }[] = []
      try {
        for (const end = Date.now() + STALL_MS; Date.now() < end; await sleep(100))
          meanwhile.push(await timed(append(other.url, id)))
      } finally {
        stalled.child.kill('SIGCONT')
      }
      const before = acknowledged.length
      const back = await timed(until('it takes appends again', () => acknowledged.length > before + 20))
      running = false
      await Promise.all(load)

      const { rows } = await db.query<{ seq: number }>(
        'select e.seq::int from starcite.events e join starcite.sessions s on s.sid = e.sid where s.id = $1',
        [id],
      )
      const stored = new Set(rows.map(({ seq }) => seq))
      await until('both tails have it all', () => tails.every(({ cursor }) => cursor === stored.size))
      expect(meanwhile.map(({ value }) => value.status)).to.deep.equal(meanwhile.map(() => 201))
      expect(Math.max(...meanwhile.map(({ ms }) => ms))).to.be.below(bound(1500))
      expect(back.ms).to.be.below(bound(3000))
      expect(acknowledged.filter((seq) => !stored.has(seq))).to.deep.equal([])
      expect(await faultsOfLog(db, id)).to.deep.equal([])
      expect(onStalled.events).to.deep.equal(onOther.events)
      for (const tail of tails) expect(tail.faults).to.deep.equal([])
      // Its own tails answered its pings all the while: it may not take them for dead.
      expect([onStalled.connections, onOther.connections]).to.deep.equal([1, 1])
    } finally {
      await other.kill('SIGKILL')
    }
  })

  it('by having no file descriptor left refuses connections, lives, keeps its tails, and recovers (I8)', async () => {
    // Enough for its modules, which are opened hundreds at a time.
    const short = await spawnNode(database, {}, { maxFiles: 400 })
    node = short
    const id = await newSession(short.url)
    const tail = tailOf(short.url, id)
    await append(short.url, id)
    await until('the tail is live', () => tail.cursor === 1)

    // Connections that say nothing, until one is not taken.
    let refused = 0
    const { hostname, port } = new URL(short.url)
    while (refused < 20 && sockets.length < 900) {
      const socket = connectTo({ host: hostname, port: Number(port) })
      sockets.push(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        refused += 1
      })
      await Promise.race([once(socket, 'connect'), once(socket, 'close')]).catch(() => {})
    }
    await until('connections are refused', () => refused >= 20)
    await db.query(`select starcite.append($1, 'sql', '{}')`, [id])
    await until('the tail goes on', () => tail.cursor === 2)
    const isAlive = short.child.exitCode === null && short.child.signalCode === null
    for (const socket of sockets) socket.destroy()
    await until(
      'it serves again',
      async () => (await append(short.url, id).catch(() => undefined))?.status === 201,
    )

    expect(isAlive, short.output()).to.equal(true)
    await until('the tail has it all', () => tail.cursor === 3)
    expect(tail.faults).to.deep.equal([])
    expect(tail.connections).to.equal(1)
    expect(await faultsOfLog(db, id)).to.deep.equal([])
    expect((await short.kill('SIGTERM')).code, short.output()).to.equal(0)
  })
})
