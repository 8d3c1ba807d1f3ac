import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose'

export const DEV_ISSUER = 'starcite-dev'
export const DEV_AUDIENCE = 'starcite'
const ALGORITHM = 'EdDSA'

export interface DevKey {
  readonly file: string
  readonly privateJwk: JWK
  readonly publicJwk: JWK
}

/** Opens the signing key of this folder, and creates it when there is none. Only its owner can read the file: a reader could sign. */
export async function openDevKey(file = path.resolve('.starcite/dev-key.json')): Promise<DevKey> {
  const privateJwk = (await read(file)) ?? (await make(file))
  const { d: _, ...publicJwk } = privateJwk
  return { file, privateJwk, publicJwk }
}

async function read(file: string): Promise<JWK | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as JWK
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new Error(
      `the development key ${file} cannot be read: ${(error as Error).message}; delete the file, and a new key is created`,
    )
  }
}

async function make(file: string): Promise<JWK> {
  const { privateKey } = await generateKeyPair(ALGORITHM, { extractable: true })
  const jwk = {
    ...(await exportJWK(privateKey)),
    kid: `dev-${randomUUID().slice(0, 8)}`,
    alg: ALGORITHM,
    use: 'sig',
  }
  await mkdir(path.dirname(file), { recursive: true })
  try {
    await writeFile(file, JSON.stringify(jwk), { mode: 0o600, flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    return (await read(file)) ?? jwk // another command has created it meanwhile
  }
  return jwk
}

export interface DevClaims {
  readonly sub: string
  readonly tenantId: string
  readonly scope: string
  readonly sessionId?: string | undefined
  readonly ttlSeconds: number
}

export async function signDevToken(key: DevKey, claims: DevClaims): Promise<string> {
  const { sub, tenantId, scope, sessionId, ttlSeconds } = claims
  const now = Math.floor(Date.now() / 1000)
  return new SignJWT({
    tenant_id: tenantId,
    scope,
    ...(sessionId !== undefined && { session_id: sessionId }),
  })
    .setProtectedHeader({ alg: ALGORITHM, kid: key.publicJwk.kid ?? '' })
    .setIssuer(DEV_ISSUER)
    .setAudience(DEV_AUDIENCE)
    .setSubject(sub)
    .setIssuedAt(now)
    .setExpirationTime(now + ttlSeconds)
    .sign(await importJWK(key.privateJwk, ALGORITHM))
}

export const jwksOf = (key: DevKey) => JSON.stringify({ keys: [key.publicJwk] })

/** Publishes the public key on 127.0.0.1. The server does not keep the process alive before `ref`. */
export async function serveJwks(key: DevKey, port: number): Promise<{ url: string; ref(): void }> {
  const server = createServer((_, res) => {
    res.setHeader('content-type', 'application/json').end(jwksOf(key))
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  server.unref()
  const { port: taken } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${taken}/jwks.json`, ref: () => void server.ref() }
}
