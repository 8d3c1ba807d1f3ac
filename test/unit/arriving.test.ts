import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { expect } from 'chai'
import { WebSocket, WebSocketServer } from 'ws'
import { boundArriving } from '../../src/http/transports/arriving.ts'
import { MemoryBudget } from '../../src/lib/memoryBudget.ts'
import { until } from '../support/until.ts'

const MESSAGE_MS = 150
const TEXT = 'a message'

/** A text frame as a client sends it, masked with zeros. */
const FRAME = Buffer.concat([Buffer.from([0x81, 0x80 | TEXT.length, 0, 0, 0, 0]), Buffer.from(TEXT)])
const HALF = FRAME.subarray(0, 10)
const REST = FRAME.subarray(10)

describe('the time of a message that is not complete', () => {
  let server: WebSocketServer
  const memory = new MemoryBudget(1_000_000)

  before(async () => {
    server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    await once(server, 'listening')
  })
  after(() => {
    for (const ws of server.clients) ws.terminate()
    server.close()
  })

  const socketOf = (ws: WebSocket) => (ws as unknown as { _socket: Socket })._socket

  async function pair() {
    const accepted = once(server, 'connection')
    const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`)
    const [ws] = (await accepted) as [WebSocket]
    await once(client, 'open')
    const connection = { ws, messages: 0, isOpen: () => ws.readyState === ws.OPEN }
    ws.on('error', () => {}) // the close frame of the client comes amid its message
    boundArriving(ws, socketOf(ws), { memory, holder: ws, messageMs: MESSAGE_MS })
    ws.on('message', () => {
      connection.messages += 1
    })
    return Object.assign(connection, { write: (part: Buffer) => socketOf(client).write(part) })
  }

  /** Until one that began now has had its time. */
  async function timeOfAnother(): Promise<void> {
    const other = await pair()
    other.write(HALF)
    await until('another had its time', () => !other.isOpen())
  }

  it('stops when reading stops, and goes on with it', async () => {
    const connection = await pair()
    connection.write(HALF)
    await until('half of it is there', () => memory.usedBytes > 0)
    connection.ws.pause()

    await timeOfAnother()
    expect(connection.isOpen()).to.equal(true)
    connection.ws.resume()

    await until('it is closed', () => !connection.isOpen())
  })

  it('lets a message be completed that was half there when reading stopped, and begins again with the next', async () => {
    const connection = await pair()
    connection.write(HALF)
    await until('half of it is there', () => memory.usedBytes > 0)
    connection.ws.pause()

    await timeOfAnother()
    connection.write(REST)
    connection.ws.resume()
    await until('the message is there', () => connection.messages === 1)
    expect(connection.isOpen()).to.equal(true)

    connection.write(HALF)
    await until('it is closed', () => !connection.isOpen())
  })
})
