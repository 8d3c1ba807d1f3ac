import { maskedText, WebSocketReader } from './webSocket.ts'

export interface TopicSet {
  readonly port: number
  readonly sessions: readonly string[]
  readonly perSocket: number
}

/** Sessions tailed on the multiplexed socket, so many on each. Resolves when all are joined. */
export async function openTopics({ port, sessions, perSocket }: TopicSet): Promise<WebSocketReader[]> {
  const sockets: WebSocketReader[] = []
  for (let from = 0; from < sessions.length; from += perSocket)
    sockets.push(await openSocket(port, sessions.slice(from, from + perSocket)))
  return sockets
}

async function openSocket(port: number, sessions: readonly string[]): Promise<WebSocketReader> {
  let joined = 0
  let settle: { resolve(): void; reject(error: Error): void } | undefined
  const socket = await WebSocketReader.open(port, '/v1/socket/websocket?vsn=2.0.0', {
    text: (frame) => {
      if (!frame.includes('"status":"ok"'))
        settle?.reject(new Error(`a join was answered ${frame.toString()}`))
      joined += 1
      if (joined === sessions.length) settle?.resolve()
    },
    closed: (code) => settle?.reject(new Error(`a socket was closed with ${code}`)),
  })
  const all = new Promise<void>((resolve, reject) => {
    settle = { resolve, reject }
  })
  for (const [i, session] of sessions.entries())
    socket.write(maskedText(JSON.stringify([String(i), String(i), `tail:${session}`, 'phx_join', {}])))
  await all
  return socket
}
