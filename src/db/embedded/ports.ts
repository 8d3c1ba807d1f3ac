import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import path from 'node:path'

/** The address that the server listens on. */
export const LOOPBACK = '127.0.0.1'

/** The port of the first server on a machine: beside Postgres's own 5432, and below the ports that systems assign. */
const FIRST_PORT = 5433

/**
 * The port that the server of this directory had last, so that clients which are configured with it continue to work.
 */
export async function usualPort(dir: string): Promise<number> {
  const kept = await readFile(portFileOf(dir), 'utf8').catch(() => '')
  return /^\d{1,5}\s*$/.test(kept) ? Number(kept) : FIRST_PORT
}

/** When it cannot be saved, the next start takes another port; this start does not fail. */
export async function keepPort(dir: string, port: number): Promise<void> {
  await writeFile(portFileOf(dir), `${port}\n`).catch(() => undefined)
}

const portFileOf = (dir: string): string => path.join(dir, 'starcite.port')

/** A free port. Another program may take it a moment later, so the caller must be ready to ask again. */
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
