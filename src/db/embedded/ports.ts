import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import path from 'node:path'

/** Where the server listens. */
export const LOOPBACK = '127.0.0.1'

/** Of the first server on a machine; beside Postgres's own 5432, and below the ports that systems hand out by themselves. */
const FIRST_PORT = 5433

/** The port that the server of this directory had last, so that what is configured with it goes on working. */
export async function usualPort(dir: string): Promise<number> {
  const kept = await readFile(portFileOf(dir), 'utf8').catch(() => '')
  return /^\d{1,5}\s*$/.test(kept) ? Number(kept) : FIRST_PORT
}

/** Where it cannot be kept the next start takes another port, which is no reason to fail this one. */
export async function keepPort(dir: string, port: number): Promise<void> {
  await writeFile(portFileOf(dir), `${port}\n`).catch(() => undefined)
}

const portFileOf = (dir: string): string => path.join(dir, 'starcite.port')

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
