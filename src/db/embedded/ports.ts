import { createServer } from 'node:net'

/** Where the server listens: loopback only, because whoever reaches it is let in. */
export const LOOPBACK = '127.0.0.1'

/** A port nobody listens on now. Somebody may a moment later: who uses it must be ready to ask again. */
export async function freePort(): Promise<number> {
  const port = await listenBriefly(0)
  if (port === undefined) throw new Error(`no free port on ${LOOPBACK}`)
  return port
}

export async function isFree(port: number): Promise<boolean> {
  return (await listenBriefly(port)) !== undefined
}

function listenBriefly(port: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (cause: NodeJS.ErrnoException) => {
      if (cause.code === 'EADDRINUSE' || cause.code === 'EACCES') resolve(undefined)
      else reject(cause)
    })
    server.listen(port, LOOPBACK, () => {
      const address = server.address()
      server.close(() => resolve(address !== null && typeof address === 'object' ? address.port : undefined))
    })
  })
}
