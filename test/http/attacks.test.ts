import { createHmac, generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from 'chai'
import { CompactSign, exportJWK, type JWTPayload } from 'jose'
import type { Service } from '../../src/service.ts'
import { at, expectError, unique } from '../support/answers.ts'
import { call, refusedUpgrade } from '../support/client.ts'
import { EVERY_CALL, SERVICE_CALLS } from '../support/everyCall.ts'
import { claims, Issuer, inSeconds, type SigningKey, sign, signingKey } from '../support/issuer.ts'
import { startNode } from '../support/node.ts'
import { RawConnection } from '../support/rawHttp.ts'
import { use } from '../support/use.ts'
import { useDatabase } from '../support/useNode.ts'

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A token signed with a secret, as `HS…` has it. */
function withSecret(header: object, payload: JWTPayload, secret: string | Buffer): string {
  const input = `${encode({ alg: 'HS256', ...header })}.${encode(payload)}`
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}

describe('attacks from outside', () => {
  const database = useDatabase()
  const issuer = use(() => Issuer.start('RS256'))
  let node: Service
  let mallory: SigningKey
  let bearer: { authorization: string }
  let id: string
  /** The address of keys in hostile headers, which the node must not request. */
  const lure = createServer((_req, res) => res.end(JSON.stringify({ keys: [mallory.jwk] })))
  let lured = 0

  before(async () => {
    mallory = await signingKey(issuer.key.kid, 'RS256')
    node = await startNode(database, issuer.settings)
    bearer = await issuer.bearer()
    id = (await call('POST', `${node.url}/v1/sessions`, { id: unique() }, bearer)).json.id
    lure.on('request', () => {
      lured += 1
    })
    await once(lure.listen(0, '127.0.0.1'), 'listening')
  })
  after(async () => {
    lure.close()
    await node?.stop()
  })

  const lureUrl = () => `http://127.0.0.1:${(lure.address() as AddressInfo).port}/jwks.json`
  const pem = () => issuer.key.publicKey.export({ type: 'spki', format: 'pem' }) as string
  const der = () => issuer.key.publicKey.export({ type: 'spki', format: 'der' })
  const kid = () => issuer.key.kid
  const good = () => sign(issuer.key, claims())
  /** A good token, its parts changed. */
  async function changed(
    change: (header: string, payload: string, signature: string) => string,
  ): Promise<string> {
    const [header = '', payload = '', signature = ''] = (await good()).split('.')
    return change(header, payload, signature)
  }
  const forged = (header: object) => sign(mallory, claims(), header)

  const TOKENS: Readonly<Record<string, () => string | Promise<string>>> = {
    'alg none, without a signature': () => `${encode({ alg: 'none', kid: kid() })}.${encode(claims())}.`,
    'alg none, with the signature of another': () =>
      changed((_, payload, signature) => `${encode({ alg: 'none', kid: kid() })}.${payload}.${signature}`),
    'alg NONE': () => changed((_, payload, s) => `${encode({ alg: 'NONE', kid: kid() })}.${payload}.${s}`),
    'no alg': () => changed((_, payload, signature) => `${encode({ kid: kid() })}.${payload}.${signature}`),
    'HS256 with the public key as PEM': () => withSecret({ kid: kid() }, claims(), pem()),
    'HS256 with the public key as PEM, trimmed': () => withSecret({ kid: kid() }, claims(), pem().trim()),
    'HS256 with the public key as DER': () => withSecret({ kid: kid() }, claims(), der()),
    'HS256 with the public key as JWK': () =>
      withSecret({ kid: kid() }, claims(), JSON.stringify(issuer.key.jwk)),
    'HS256 with the modulus': () => withSecret({ kid: kid() }, claims(), issuer.key.jwk.n as string),
    'HS256 with an empty secret': () => withSecret({ kid: kid() }, claims(), ''),
    'RS384, which is not taken': () => sign({ ...issuer.key, alg: 'RS384' }, claims()),
    'the alg of another kind of key': async () => sign({ ...(await signingKey(kid(), 'ES256')) }, claims()),
    'PS256 with a key for RS256': () => sign({ ...issuer.key, alg: 'PS256' }, claims()),
    'a key of the same name': () => forged({}),
    'an unknown kid': () => forged({ kid: 'mallory' }),
    'a kid that is a path': () => forged({ kid: '../../../../dev/null' }),
    'a kid that is SQL': () => forged({ kid: "' or 1=1 --" }),
    'a kid of the prototype': () => forged({ kid: '__proto__' }),
    'a kid that is a number': () => forged({ kid: 1 }),
    'no kid': () => sign(issuer.key, claims(), { kid: undefined }),
    'jwk, a key that it brings itself': () => forged({ jwk: mallory.jwk }),
    'jku, where that key is': () => forged({ kid: 'mallory', jku: lureUrl() }),
    'x5u, where that key is': () => forged({ kid: 'mallory', x5u: lureUrl() }),
    'x5c, a certificate that it brings itself': () => forged({ x5c: [der().toString('base64')] }),
    'crit, with an unknown extension': () =>
      changed((_, p, s) => `${encode({ alg: 'RS256', kid: kid(), crit: ['sudo'], sudo: true })}.${p}.${s}`),
    'crit, empty': () => changed((_, p, s) => `${encode({ alg: 'RS256', kid: kid(), crit: [] })}.${p}.${s}`),
    'b64 false': () => sign(issuer.key, claims(), { b64: false }),
    'b64 false, and critical': () =>
      changed((_, p, s) => `${encode({ alg: 'RS256', kid: kid(), b64: false, crit: ['b64'] })}.${p}.${s}`),
    'a token in a token': async () => {
      const inner = await good()
      return changed(
        (header, _, signature) => `${header}.${Buffer.from(inner).toString('base64url')}.${signature}`,
      )
    },
    'an encrypted one': () => changed((header, payload, s) => `${header}.${payload}.${s}.${payload}.${s}`),
    'claims that were changed': () =>
      changed((header, _, signature) => `${header}.${encode(claims({ sub: 'service:root' }))}.${signature}`),
    'claims that are no object': () =>
      new CompactSign(Buffer.from('[]'))
        .setProtectedHeader({ alg: 'RS256', kid: kid() })
        .sign(issuer.key.privateKey),
    'a signature cut short': () => changed((header, payload, s) => `${header}.${payload}.${s.slice(0, -8)}`),
    'an empty signature': () => changed((header, payload) => `${header}.${payload}.`),
    'two parts': () => changed((header, payload) => `${header}.${payload}`),
    padding: async () => `${await good()}==`,
    'a wrong iss': () => sign(issuer.key, claims({ iss: 'https://issuer.example' })),
    'no iss': () => sign(issuer.key, claims({ iss: undefined })),
    'several iss': () => sign(issuer.key, claims({ iss: ['https://issuer.example/'] })),
    'a wrong aud': () => sign(issuer.key, claims({ aud: 'starcite2' })),
    'a longer aud': () => sign(issuer.key, claims({ aud: 'xstarcitex' })),
    'no aud': () => sign(issuer.key, claims({ aud: undefined })),
    'an empty aud': () => sign(issuer.key, claims({ aud: [] })),
    'an exp of the past': () => sign(issuer.key, claims({ exp: inSeconds(-31) })),
    'no exp': () => sign(issuer.key, claims({ exp: undefined })),
    'an exp in words': () => sign(issuer.key, claims({ exp: '9999999999' })),
    'an nbf of the future': () => sign(issuer.key, claims({ nbf: inSeconds(90) })),
    'an iat of the future': () => sign(issuer.key, claims({ iat: inSeconds(90) })),
    'an iat in words': () => sign(issuer.key, claims({ iat: 'yesterday' })),
    'no sub': () => sign(issuer.key, claims({ sub: undefined })),
    'no tenant': () => sign(issuer.key, claims({ tenant_id: undefined })),
    'a tenant with NUL': () => sign(issuer.key, claims({ tenant_id: 'ac\0me' })),
    'no scopes': () => sign(issuer.key, claims({ scope: undefined })),
    'a lock that is no id': () => sign(issuer.key, claims({ session_id: null })),
    'twelve thousand characters of nothing': () => 'x'.repeat(12_000),
    'twelve thousand characters of payload': () =>
      changed((header, _, signature) => `${header}.${'A'.repeat(12_000)}.${signature}`),
    'a header of a hundred thousand brackets': () =>
      changed((_, p, s) => `${Buffer.from('['.repeat(8000)).toString('base64url')}.${p}.${s}`),
  }

  describe('tokens with', () => {
    for (const [what, make] of Object.entries(TOKENS))
      it(`${what}: 401, whether the session exists or not, on HTTP and before an upgrade`, async () => {
        const token = await make()
        const headers = { authorization: `Bearer ${token}` }

        const answer = await call('POST', at(node.url, id, '/append'), { type: 'x', payload: {} }, headers)

        expectError(answer, 401, 'unauthorized')
        expect(answer.headers.get('www-authenticate')).to.match(
          /^Bearer realm="starcite", error="invalid_token", /,
        )
        expect(answer.text).not.to.include(token.slice(-20))
        const absent = await call('GET', at(node.url, unique()), undefined, headers)
        expect([absent.status, absent.text]).to.deep.equal([401, answer.text])
        const query = new URLSearchParams({ access_token: token })
        expectError(await refusedUpgrade(at(node.url, id, `/tail?${query}`)), 401, 'unauthorized')
      })

    it('a length that no header may have: 431', async () => {
      const connection = await RawConnection.open(node.url)
      connection.send(
        `GET /v1/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${'x'.repeat(20_000)}\r\n\r\n`,
      )

      expect((await connection.answer())?.status).to.equal(431)
      connection.destroy()
    })

    after(() => {
      expect(lured, 'no request to the address in a token').to.equal(0)
    })
  })

  it('leave the good ones good', async () => {
    expect((await call('GET', at(node.url, id), undefined, bearer)).status).to.equal(200)
    // What issuers add, and what the leeway is for.
    for (const [more, header] of [
      [{}, { typ: 'at+jwt', x5t: 'abc', x5c: [der().toString('base64')], jku: lureUrl() }],
      [{ aud: ['other', 'starcite'] }, {}],
      [{ exp: inSeconds(-20) }, {}],
      [{ nbf: inSeconds(20), iat: inSeconds(20) }, {}],
    ] as const) {
      const token = await sign(issuer.key, claims(more), header)
      const answer = await call('GET', at(node.url, id), undefined, { authorization: `bearer  ${token}` })
      expect(answer.status, answer.text).to.equal(200)
    }
  })

  describe('headers', () => {
    const HEADERS: Readonly<Record<string, (token: string) => string>> = {
      'another scheme': (token) => `Authorization: Basic ${token}`,
      'no scheme': (token) => `Authorization: ${token}`,
      'a scheme alone': () => 'Authorization: Bearer',
      'a scheme and spaces': () => 'Authorization: Bearer    ',
      'a scheme that goes on': (token) => `Authorization: BearerX ${token}`,
      'a tab for the space': (token) => `Authorization: Bearer\t${token}`,
      'a space in the token': (token) => `Authorization: Bearer ${token.slice(0, 9)} ${token.slice(9)}`,
      'something behind the token': (token) => `Authorization: Bearer ${token}, Bearer ${token}`,
      quotes: (token) => `Authorization: Bearer "${token}"`,
      'an empty one': () => 'Authorization: ',
      'two, the same': (token) => `Authorization: Bearer ${token}\r\nAuthorization: Bearer ${token}`,
      'two, the good one last': (token) => `Authorization: Bearer a.b.c\r\nauthorization: Bearer ${token}`,
      'two, the good one first': (token) => `Authorization: Bearer ${token}\r\nAUTHORIZATION: Basic x`,
      'a proxy’s': (token) => `Proxy-Authorization: Bearer ${token}`,
      'a cookie': (token) => `Cookie: access_token=${token}`,
      'one of a method': (token) => `X-HTTP-Method-Override: DELETE\r\nX-Authorization: Bearer ${token}`,
    }
    for (const [what, make] of Object.entries(HEADERS))
      it(`${what}: 401`, async () => {
        const connection = await RawConnection.open(node.url)
        connection.send(`GET /v1/sessions/${id} HTTP/1.1\r\nHost: x\r\n${make(await good())}\r\n\r\n`)

        const answer = await connection.answer()

        expect([answer?.status, JSON.parse(answer?.body ?? '{}').error]).to.deep.equal([401, 'unauthorized'])
        expect(answer?.headers).to.match(/^www-authenticate: Bearer realm="starcite"/im)
        connection.destroy()
      })

    for (const what of ['line feed', 'NUL'])
      it(`a ${what} in it: 400`, async () => {
        const connection = await RawConnection.open(node.url)
        const between = what === 'NUL' ? '\0' : '\n'
        connection.send(
          `GET /v1/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer${between}${await good()}\r\n\r\n`,
        )

        expect((await connection.answer())?.status).to.equal(400)
        connection.destroy()
      })
  })

  describe('ids', () => {
    const PATHS: Readonly<Record<string, (id: string) => string>> = {
      'an encoded slash before it': (id) => `%2F${id}`,
      'an encoded slash behind it': (id) => `${id}%2F`,
      'a path up and down': (id) => `..%2F..%2Fv1%2Fsessions%2F${id}`,
      'NUL before it': (id) => `%00${id}`,
      'NUL behind it': (id) => `${id}%00`,
      'NUL and the id of another tenant': (id) => `acme%00${id}`,
      'a line feed': (id) => `${id}%0A`,
      'a space': (id) => `${id}%20`,
      'double encoding': (id) => encodeURIComponent(`%${id.charCodeAt(0).toString(16)}${id.slice(1)}`),
      'a wildcard': () => '%25',
      'a quote': (id) => `${id}'--`,
      'another case': (id) => id.toUpperCase(),
      'a full-width letter': (id) => `%EF%BD%93${id.slice(1)}`,
      'broken UTF-8': (id) => `${id}%C0%AF`,
      'half an escape': (id) => `${id}%`,
      'three hundred bytes': (id) => id.padEnd(300, 'x'),
    }
    for (const [what, make] of Object.entries(PATHS))
      it(`${what}: not found, on every call`, async () => {
        for (const rest of ['', '/events', '/append', '/archive']) {
          const method = rest === '/append' || rest === '/archive' ? 'POST' : 'GET'
          const body = rest === '/append' ? { type: 'x', payload: {} } : undefined
          const answer = await call(method, `${node.url}/v1/sessions/${make(id)}${rest}`, body, bearer)
          expect(answer.status, `${method} ${rest} ${answer.text}`).to.be.oneOf([400, 404])
          expect(answer.json.error).to.be.oneOf(['session_not_found', 'not_found', 'bad_request'])
        }
        const upgrade = await refusedUpgrade(`${node.url}/v1/sessions/${make(id)}/tail`, bearer)
        expect(upgrade.status).to.be.oneOf([400, 404])
      })
  })

  describe('SQL', () => {
    const SQL = `'); drop table starcite.events; --`
    const SPELLINGS = [
      SQL,
      `${SQL} $1`,
      `\\'; select pg_sleep(9); --`,
      `"; delete from starcite.sessions; --`,
    ]

    it('in every string that a client can send is text, kept or refused', async () => {
      for (const [i, sql] of SPELLINGS.entries()) {
        const own = `${sql}${i}`
        const metadata = { [sql]: sql }
        const created = await call(
          'POST',
          `${node.url}/v1/sessions`,
          { id: own, title: sql, metadata },
          bearer,
        )
        expect([created.status, created.json.id, created.json.title, created.json.metadata]).to.deep.equal([
          201,
          own,
          sql,
          metadata,
        ])
        const event = {
          type: sql,
          payload: { [sql]: sql },
          source: sql,
          producer_id: sql,
          producer_seq: 1,
          idempotency_key: sql,
          metadata,
          refs: { request_id: sql, [sql]: sql },
        }
        expect((await call('POST', at(node.url, own, '/append'), event, bearer)).json.seq).to.equal(1)
        const batch = { events: [{ ...event, producer_seq: 2 }] }
        expect((await call('POST', at(node.url, own, '/events'), batch, bearer)).json.last_seq).to.equal(2)
        expect(
          (await call('PATCH', at(node.url, own), { title: `${sql}!`, metadata }, bearer)).status,
        ).to.equal(200)

        const query = new URLSearchParams({ type: sql, actor: sql })
        const none = await call('GET', at(node.url, own, `/events?${query}`), undefined, bearer)
        expect(none.json.events).to.deep.equal([])
        const some = await call(
          'GET',
          at(node.url, own, `/events?${new URLSearchParams({ type: sql })}`),
          undefined,
          bearer,
        )
        expect(some.json.events[0]).to.deep.include(event)
        const filter = new URLSearchParams({ [`metadata.${sql}`]: sql, cursor: sql.slice(0, 1) })
        const list = await call('GET', `${node.url}/v1/sessions?${filter}`, undefined, bearer)
        expect(list.json.sessions?.map((session: { id: string }) => session.id)).to.deep.equal([own])
        for (const name of ['limit', 'archived', 'order', 'wait', 'cursor'])
          expect(
            (
              await call(
                'GET',
                at(
                  node.url,
                  own,
                  `/events?${name === 'archived' ? 'limit' : name}=${encodeURIComponent(sql)}`,
                ),
                undefined,
                bearer,
              )
            ).status,
          ).to.equal(400)
      }
      const trickster = await issuer.bearer({ tenant_id: SQL, sub: SQL, session_id: undefined })
      const created = await call('POST', `${node.url}/v1/sessions`, {}, trickster)
      expect(created.json).to.deep.include({
        tenant_id: SQL,
        creator_principal: { tenant_id: SQL, id: SQL, type: 'user' },
      })
      expect(
        (await call('GET', `${node.url}/v1/sessions`, undefined, trickster)).json.sessions,
      ).to.have.length(1)
    })
  })

  it('that bring a token of another issuer’s key with every call get nowhere', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const other = { ...issuer.key, privateKey, publicKey, jwk: await exportJWK(publicKey) }
    const headers = { authorization: `Bearer ${await sign(other, claims())}` }

    for (const { name, send } of [...EVERY_CALL, ...SERVICE_CALLS]) {
      const answer = await send(node.url, id, headers)
      expect([name, answer.status, answer.json.error]).to.deep.equal([name, 401, 'unauthorized'])
    }
  })
})
