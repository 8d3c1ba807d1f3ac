import { connect } from 'node:net'

/** A running server closes the connection of a cancel request at once. */
const ANSWER_MS = 1000
const CANCEL_REQUEST = 80_877_102

/** Members of pg's connection that its types lack. */
export interface Cancellable {
  readonly host: string
  readonly port: number
  readonly processID: number | null
  readonly secretKey: number | null
}

/**
 * Asks Postgres, or the pooler before it, to cancel what runs on a connection. Resolves to whether the request was
 * delivered, which says nothing about its success. It is sent unencrypted, as libpq does: it holds only the process
 * id and the secret key.
 */
export async function cancel(
  { host, port, processID, secretKey }: Cancellable,
  signal: AbortSignal,
): Promise<boolean> {
  if (processID === null || secretKey === null) return false
  const request = Buffer.alloc(16)
  request.writeInt32BE(16, 0)
  request.writeInt32BE(CANCEL_REQUEST, 4)
  request.writeInt32BE(processID, 8)
  request.writeInt32BE(secretKey, 12)
  const socket = host.startsWith('/') ? connect(`${host}/.s.PGSQL.${port}`) : connect(port, host)
  socket.on('error', () => {}) // followed by close
  socket.write(request)
  socket.resume()
  const giveUp = () => socket.destroy(new Error('no answer'))
  socket.setTimeout(ANSWER_MS, giveUp)
  signal.addEventListener('abort', giveUp, { once: true })
  await new Promise((resolve) => socket.once('close', resolve))
  signal.removeEventListener('abort', giveUp)
  return socket.errored === null
}
