import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, type JWK, type JWTPayload, SignJWT } from 'jose'
import type { Settings } from './node.ts'

export interface SigningKey {
  readonly kid: string
  readonly alg: string
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  readonly jwk: JWK
}

const PAIRS: Readonly<Record<string, () => { privateKey: KeyObject; publicKey: KeyObject }>> = {
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  PS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: () => generateKeyPairSync('ed25519'),
}

export async function signingKey(kid: string, alg = 'EdDSA'): Promise<SigningKey> {
  const { privateKey, publicKey } = (PAIRS[alg] as (typeof PAIRS)[string])()
  return { kid, alg, privateKey, publicKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } }
}

export const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds

export const ISSUER = 'https://issuer.example/'
export const AUDIENCE = 'starcite'

/** The claims of a token that may do everything in the tenant `acme`. */
export const claims = (more: object = {}): JWTPayload => ({
  iss: ISSUER,
  aud: AUDIENCE,
  sub: 'user:ann',
  tenant_id: 'acme',
  scope: 'session:create session:read session:append',
  iat: inSeconds(0),
  exp: inSeconds(3600),
  ...more,
})

export const sign = (key: SigningKey, payload: JWTPayload, header: object = {}): Promise<string> =>
  new SignJWT(payload).setProtectedHeader({ alg: key.alg, kid: key.kid, ...header }).sign(key.privateKey)

/** A token issuer with its key server, whose answers a test may change. */
export class Issuer {
  /** What is published. */
  keys: JWK[]
  /** Instead of publishing them. */
  answer: ((res: ServerResponse) => void) | undefined
  /** How often the keys were asked for. */
  requests = 0
  readonly key: SigningKey
  readonly #server: Server

  private constructor(key: SigningKey, server: Server) {
    this.key = key
    this.keys = [key.jwk]
    this.#server = server
    server.on('request', (_req, res: ServerResponse) => {
      this.requests += 1
      if (this.answer) this.answer(res)
      else res.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: this.keys }))
    })
  }

  static async start(alg?: string): Promise<Issuer> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new Issuer(await signingKey('first', alg), server)
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/jwks.json`
  }

  /** The settings with which a node trusts this issuer. */
  get settings(): Settings {
    return {
      STARCITE_AUTH_MODE: 'jwt',
      STARCITE_AUTH_JWKS_URL: this.url,
      STARCITE_AUTH_JWT_ISSUER: ISSUER,
      STARCITE_AUTH_JWT_AUDIENCE: AUDIENCE,
    }
  }

  token(more: object = {}): Promise<string> {
    return sign(this.key, claims(more))
  }

  /** The Authorization header of such a token. */
  async bearer(more: object = {}): Promise<{ authorization: string }> {
    return { authorization: `Bearer ${await this.token(more)}` }
  }

  async stop(): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
  }
}
