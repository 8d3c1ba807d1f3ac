import { expect } from 'chai'
import { claimNames } from '../../src/auth/claimNames.ts'
import { JwtAuthenticator, type JwtOptions } from '../../src/auth/jwtAuthenticator.ts'
import type { Principal } from '../../src/auth/principal.ts'
import { createLog } from '../../src/ops/log.ts'
import { AppError } from '../../src/protocol/errors.ts'
import { AUDIENCE, claims, ISSUER, Issuer, sign, signingKey } from '../support/issuer.ts'
import { bound } from '../support/slack.ts'
import { timed, until } from '../support/until.ts'
import { useEach } from '../support/use.ts'

const HOUR_MS = 3_600_000

describe('the key server', () => {
  const issuer = useEach(() => Issuer.start())
  const started: JwtAuthenticator[] = []

  afterEach(async () => {
    for (const authenticator of started.splice(0)) await authenticator.stop()
  })

  function start(keys: Partial<JwtOptions['keys']> = {}, more: Partial<JwtOptions> = {}): JwtAuthenticator {
    const authenticator = new JwtAuthenticator({
      issuer: ISSUER,
      audiences: [AUDIENCE],
      names: claimNames('none', {}),
      scopeMap: new Map(),
      leewaySeconds: 30,
      defaultTenant: undefined,
      defaultScopes: undefined,
      cachedTokens: 100,
      log: createLog('silent'),
      ...more,
      keys: { url: issuer.url, refreshMs: HOUR_MS, maxAgeMs: HOUR_MS, ...keys },
    })
    started.push(authenticator)
    authenticator.start()
    return authenticator
  }

  /** `ok`, or the code and the reason of the refusal. */
  async function judge(authenticator: JwtAuthenticator, token: string): Promise<string> {
    try {
      await authenticator.authenticate(token)
      return 'ok'
    } catch (error) {
      if (error instanceof AppError) return `${error.code}: ${error.message}`
      throw error
    }
  }

  for (const alg of ['RS256', 'PS256', 'ES256', 'EdDSA'])
    it(`may have keys for ${alg}, with or without saying so`, async () => {
      const key = await signingKey('k', alg)
      const { alg: _, use: __, ...plain } = key.jwk
      issuer.keys = [plain]

      expect(await judge(start(), await sign(key, claims()))).to.equal('ok')
    })

  it('is not asked again for a token that was seen, which is answered without waiting', async () => {
    const authenticator = start()
    const token = await issuer.token()
    const first = await authenticator.authenticate(token)

    expect(authenticator.authenticate(token)).to.equal(first).and.not.be.a('promise')
    expect(issuer.requests).to.equal(1)
  })

  it('is requested once, by the first token, when many tokens arrive while a node starts', async () => {
    const authenticator = start()
    const tokens = await Promise.all(Array.from({ length: 50 }, (_, i) => issuer.token({ sub: `user:${i}` })))

    const answers = await Promise.all([...tokens, ...tokens].map((token) => judge(authenticator, token)))

    expect(new Set(answers)).to.deep.equal(new Set(['ok']))
    expect(issuer.requests).to.equal(1)
  })

  it('is asked at once for a key that is not known, once for all, and not again for a while', async () => {
    const authenticator = start({ cooldownMs: HOUR_MS })
    expect(await judge(authenticator, await issuer.token())).to.equal('ok')
    const soon = start({ cooldownMs: 0 })
    expect(await judge(soon, await issuer.token())).to.equal('ok')
    const [next, made] = [await signingKey('next'), await signingKey('made up')]
    issuer.keys = [issuer.key.jwk, next.jwk]
    issuer.requests = 0

    const tokens = await Promise.all([1, 2, 3].map((n) => sign(next, claims({ sub: `user:${n}` }))))
    expect(await Promise.all(tokens.map((token) => judge(soon, token)))).to.deep.equal(['ok', 'ok', 'ok'])
    expect(issuer.requests).to.equal(1)

    const unknown = await sign(made, claims())
    for (let i = 0; i < 5; i += 1)
      expect(await judge(authenticator, unknown)).to.match(/^unauthorized: .* no such key/)
    expect(issuer.requests, 'within the cool-down').to.equal(2)
  })

  it('may rotate keys between two fetches: a token of the new key waits, and is never refused permanently', async () => {
    const authenticator = start({ cooldownMs: 500 })
    const madeUp = await Promise.all(
      Array.from({ length: 30 }, async (_, i) => sign(await signingKey(`made up ${i}`), claims())),
    )
    expect(await judge(authenticator, await issuer.token())).to.equal('ok')
    const refusals = []
    for (const token of madeUp) refusals.push(await judge(authenticator, token))
    expect(refusals[0]).to.match(/^unauthorized: .* no such key/)
    expect(issuer.requests).to.be.below(30)
    const next = await signingKey('next')
    issuer.keys = [issuer.key.jwk, next.jwk]
    const token = await sign(next, claims())

    const answers = new Set<string>()
    await until('the new key is known', async () => {
      const answer = await judge(authenticator, token)
      answers.add(answer.split(':')[0] as string)
      return answer === 'ok'
    })
    expect([...answers]).not.to.include('unauthorized')
  })

  it('may rotate keys: a withdrawn one ends what it has signed, remembered or not', async () => {
    const authenticator = start({ refreshMs: 20 })
    const [old, other] = [await issuer.token(), await issuer.token({ sub: 'user:bob' })]
    const next = await signingKey('next')
    const principal = (await authenticator.authenticate(old)) as Principal
    issuer.keys = [next.jwk]
    await until('the key is withdrawn', () => principal.withdrawn?.aborted)

    for (const token of [old, other]) expect(await judge(authenticator, token)).to.match(/^unauthorized/)
    expect(await judge(authenticator, await sign(next, claims()))).to.equal('ok')
  })

  it('may show a key twice, which is withdrawn all the same', async () => {
    issuer.keys = [issuer.key.jwk, issuer.key.jwk]
    const authenticator = start({ refreshMs: 20 })
    const token = await issuer.token()
    const { withdrawn } = (await authenticator.authenticate(token)) as Principal
    issuer.requests = 0
    await until('it was fetched again', () => issuer.requests > 2)
    expect(withdrawn?.aborted).to.equal(false)

    issuer.keys = [(await signingKey('next')).jwk]
    await until('the key is withdrawn', () => withdrawn?.aborted)
    expect(await judge(authenticator, token)).to.match(/^unauthorized/)
  })

  it('may put another key under the same name', async () => {
    const authenticator = start({ refreshMs: 20 })
    const old = await issuer.token()
    const principal = (await authenticator.authenticate(old)) as Principal
    const impostor = await signingKey(issuer.key.kid)
    issuer.keys = [impostor.jwk]
    await until('the key is withdrawn', () => principal.withdrawn?.aborted)

    expect(await judge(authenticator, old)).to.match(/^unauthorized: .*signature/)
    expect(await judge(authenticator, await sign(impostor, claims()))).to.equal('ok')
  })

  it('may have keys that are broken or for something else, beside good ones', async () => {
    const weak = { kty: 'RSA', n: Buffer.alloc(128, 0xff).toString('base64url'), e: 'AQAB', kid: 'weak' }
    issuer.keys = [
      { kty: 'oct', k: 'c2VjcmV0', kid: 'secret', alg: 'HS256' },
      { kty: 'RSA', n: '!', e: 'AQAB', kid: 'broken' },
      { ...issuer.key.jwk, kid: 'encryption', use: 'enc' },
      { ...issuer.key.jwk, kid: 'off the curve', x: 'AA' },
      { kty: 'EC', crv: 'P-384', kid: 'other curve' },
      weak,
      null,
      'key',
      { ...issuer.key.jwk, kid: undefined },
      issuer.key.jwk,
    ] as typeof issuer.keys
    const authenticator = start()

    expect(await judge(authenticator, await issuer.token())).to.equal('ok')
    expect(authenticator.keys.size).to.equal(1)
    for (const kid of ['encryption', 'secret', 'off the curve'])
      expect(await judge(authenticator, await sign({ ...issuer.key, kid }, claims()))).to.match(
        /^unauthorized/,
      )
  })

  const FAULTS: Readonly<Record<string, NonNullable<Issuer['answer']>>> = {
    'is broken': (res) => res.writeHead(500).end('{"keys":[]}'),
    'hangs up': (res) => res.socket?.destroy(),
    'is silent': () => {},
    'stops in the middle': (res) => res.writeHead(200).write('{"keys":['),
    'serves a page': (res) => res.end('<html>maintenance</html>'),
    'serves null': (res) => res.end('null'),
    'serves no keys': (res) => res.end('{"keys":[]}'),
    'serves keys that are none': (res) => res.end('{"keys":{"length":1}}'),
    'serves without end': (res) => {
      const more = () => {
        while (res.writable && res.write(Buffer.alloc(64 * 1024, 32)));
      }
      res.on('drain', more)
      more()
    },
    'leads elsewhere': (res) => res.writeHead(302, { location: issuer.url }).end(),
  }
  for (const [fault, answer] of Object.entries(FAULTS))
    it(`that ${fault} takes nothing from the keys known, and a node without keys says 503`, async () => {
      const keys = { refreshMs: 20, fetchTimeoutMs: 100, cooldownMs: 0 }
      const knowing = start(keys)
      const [seen, unseen] = [await issuer.token(), await issuer.token({ sub: 'user:bob' })]
      expect(await judge(knowing, seen)).to.equal('ok')
      issuer.answer = answer
      issuer.requests = 0
      await until('it was asked again', () => issuer.requests > 1)

      expect(await judge(knowing, seen)).to.equal('ok')
      expect(await judge(knowing, unseen)).to.equal('ok')
      const unknown = await sign(await signingKey('next'), claims())
      expect(await judge(knowing, unknown), 'perhaps a new key').to.match(/^auth_unavailable/)
      const fresh = start(keys)
      const { value, ms } = await timed(judge(fresh, seen))
      expect(value).to.match(/^auth_unavailable/)
      expect(ms).to.be.below(bound(2000))

      issuer.answer = undefined
      await until('it recovers by itself', async () => (await judge(fresh, seen)) === 'ok')
    })

  it('may be away for so long, and no longer', async () => {
    const authenticator = start({ refreshMs: 20, cooldownMs: 0, maxAgeMs: 300 })
    const token = await issuer.token()
    expect(await judge(authenticator, token)).to.equal('ok')
    issuer.answer = (res) => res.writeHead(500).end()
    await until('keys are too old', () => authenticator.keys.ageSeconds > 0.3)

    expect(await judge(authenticator, token)).to.match(/^auth_unavailable/)

    issuer.answer = undefined
    await until('it is back', async () => (await judge(authenticator, token)) === 'ok')
  })

  it('does not delay a node that stops', async () => {
    issuer.answer = () => {}
    const authenticator = start()
    const waiting = judge(authenticator, await issuer.token())
    await until('it was asked', () => issuer.requests > 0)

    const { ms } = await timed(authenticator.stop())

    expect(ms).to.be.below(bound(1000))
    expect(await waiting).to.match(/^auth_unavailable/)
  })

  it('forgets tokens past the bound, and ends each when it expires', async () => {
    const authenticator = start({}, { cachedTokens: 2, leewaySeconds: 0 })
    const tokens = await Promise.all([1, 2, 3].map((n) => issuer.token({ sub: `user:${n}` })))
    for (const token of tokens) await authenticator.authenticate(token)
    const isRemembered = (token = '') => !(authenticator.authenticate(token) instanceof Promise)
    expect([isRemembered(tokens[2]), isRemembered(tokens[1]), isRemembered(tokens[0])]).to.deep.equal([
      true,
      true,
      false,
    ])

    const short = await issuer.token({ exp: Math.floor(Date.now() / 1000) + 1 })
    expect(await judge(authenticator, short)).to.equal('ok')
    expect(
      await until('it expires', async () => {
        const judged = await judge(authenticator, short)
        return judged !== 'ok' && judged
      }),
    ).to.equal('unauthorized: the token has expired')
  })
})
