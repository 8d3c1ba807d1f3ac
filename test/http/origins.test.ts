import { once } from 'node:events'
import { createConnection } from 'node:net'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { loadConfig } from '../../src/config.ts'
import { warnOfOpenAccess } from '../../src/http/openAccess.ts'
import type { Log } from '../../src/ops/log.ts'
import type { Service } from '../../src/service.ts'
import { at, expectError, unique } from '../support/answers.ts'
import { call, refusedUpgrade, request } from '../support/client.ts'
import { freePort, runProgram, startNode } from '../support/node.ts'
import { RawConnection } from '../support/rawHttp.ts'
import { until } from '../support/until.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

const EVENT = '{"type":"a","payload":{}}'
const FOREIGN = 'https://evil.example'

describe('web pages and names of a node', () => {
  const database = useDatabase()
  const node = useNode(database)
  let id: string
  const others: Service[] = []

  before(async () => {
    id = (await call('POST', `${node.url}/v1/sessions`, { id: unique() })).json.id
  })
  afterEach(async () => {
    for (const other of others.splice(0)) await other.stop()
  })

  async function start(settings: Record<string, string>): Promise<Service> {
    const other = await startNode(database, settings)
    others.push(other)
    return other
  }
  const get = (base: string, origin: string) => call('GET', at(base, id), undefined, { origin })
  /** The status of a request under that name. */
  async function under(
    base: string,
    host: string,
    more = '',
  ): Promise<[number | undefined, string | undefined]> {
    const connection = await RawConnection.open(base)
    connection.send(`GET /v1/sessions/${id} HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`)
    const answer = await connection.answer()
    connection.destroy()
    return [answer?.status, JSON.parse(answer?.body ?? '{}').error]
  }

  describe('without tokens', () => {
    it('a foreign page writes nothing, reads nothing and upgrades nothing', async () => {
      const append = at(node.url, id, '/append')
      for (const origin of [
        FOREIGN,
        'null',
        'http://evil.example:80',
        'file://',
        'http://localhost.evil.example',
      ]) {
        const refused = await call('POST', append, EVENT, { origin })
        expectError(refused, 403, 'forbidden_origin')
        expect(refused.headers.get('access-control-allow-origin')).to.equal(null)
        expectError(await call('DELETE', at(node.url, id), undefined, { origin }), 403, 'forbidden_origin')
        expectError(await get(node.url, origin), 403, 'forbidden_origin')
        expectError(await refusedUpgrade(at(node.url, id, '/tail'), { origin }), 403, 'forbidden_origin')
        const phoenix = new WebSocket(`${node.url.replace('http', 'ws')}/v1/socket/websocket?vsn=2.0.0`, {
          headers: { origin },
        })
        const [, response] = await once(phoenix, 'unexpected-response')
        expect([response.statusCode, response.headers['content-length']]).to.deep.equal([403, '0'])
        const preflight = { origin, 'access-control-request-method': 'POST' }
        expect(
          (await request('OPTIONS', append, undefined, preflight)).headers.get('access-control-allow-origin'),
        ).to.equal(null)
      }
      // As no browser of today sends it.
      expectError(
        await call('POST', append, EVENT, { 'sec-fetch-site': 'cross-site' }),
        403,
        'forbidden_origin',
      )

      expect((await call('GET', at(node.url, id))).json.last_seq).to.equal(0)
    })

    it('pages of this machine, the node itself and programs are let in', async () => {
      for (const origin of [
        'http://localhost:5173',
        'http://127.0.0.1:3000',
        'http://[::1]:1',
        'http://app.localhost',
      ]) {
        const answer = await get(node.url, origin)
        expect([answer.status, answer.headers.get('access-control-allow-origin')]).to.deep.equal([
          200,
          origin,
        ])
        expect(answer.headers.get('vary')).to.equal('Origin')
      }
      const own = 'Origin: http://starcite:4000\r\n'
      expect(await under(node.url, 'starcite:4000', own)).to.deep.equal([200, undefined])
      expect(await under(node.url, 'starcite:4001', own)).to.deep.equal([403, 'forbidden_origin'])
      expect((await call('POST', at(node.url, id, '/append'), EVENT)).status).to.equal(201)
      const socket = new WebSocket(`${node.url.replace('http', 'ws')}/v1/socket/websocket?vsn=2.0.0`)
      await once(socket, 'open')
      socket.terminate()
    })

    it('a public name is not its name, so a page cannot give it its own; health is open to every host', async () => {
      for (const host of [
        'evil.example',
        'evil.example:4000',
        'EVIL.example.',
        '127.0.0.1.evil.example',
        'localhost.evil.example',
      ])
        expect(await under(node.url, host), host).to.deep.equal([403, 'forbidden_host'])
      expect(await under(node.url, 'evil.example', 'Origin: http://evil.example\r\n')).to.deep.equal([
        403,
        'forbidden_host',
      ])
      for (const host of [
        'localhost',
        'LOCALHOST:4000',
        '127.0.0.1',
        '10.1.2.3:80',
        '[::1]:4000',
        'node1:4000',
        'a.localhost',
      ])
        expect(await under(node.url, host), host).to.deep.equal([200, undefined])
      const connection = await RawConnection.open(node.url)
      connection.send('GET /health/live HTTP/1.1\r\nHost: lb.example\r\n\r\n')
      expect((await connection.answer())?.status).to.equal(200)
      connection.destroy()
    })

    it('settings say which pages and names there are beside', async () => {
      const { url } = await start({
        STARCITE_CORS_ORIGIN: 'https://desk.example, https://app.example:8443/',
        STARCITE_ALLOWED_HOSTS: 'api.example .internal.example',
      })

      for (const origin of ['https://desk.example', 'https://app.example:8443'])
        expect((await get(url, origin)).headers.get('access-control-allow-origin')).to.equal(origin)
      for (const origin of ['http://desk.example', 'https://desk.example:444', 'http://localhost:5173'])
        expectError(await get(url, origin), 403, 'forbidden_origin')
      for (const host of ['api.example', 'API.example:443', 'a.b.internal.example'])
        expect(await under(url, host), host).to.deep.equal([200, undefined])
      for (const host of ['x.api.example', 'internal.example', 'evilinternal.example'])
        expect(await under(url, host), host).to.deep.equal([403, 'forbidden_host'])
    })
  })

  it('with tokens every page and every name may try, unless settings say otherwise', () => {
    const jwt = {
      STARCITE_AUTH_MODE: 'jwt',
      STARCITE_AUTH_JWKS_URL: 'https://issuer.example/jwks',
      STARCITE_AUTH_JWT_ISSUER: 'i',
      STARCITE_AUTH_JWT_AUDIENCE: 'a',
    }

    expect(loadConfig(jwt)).to.deep.include({ host: undefined, admitted: { origins: '*', hosts: '*' } })
    expect(loadConfig({ ...jwt, STARCITE_CORS_ORIGIN: FOREIGN }).admitted).to.deep.equal({
      origins: [FOREIGN],
      hosts: '*',
    })
  })

  for (const [name, value] of [
    ['STARCITE_CORS_ORIGIN', 'desk.example'],
    ['STARCITE_CORS_ORIGIN', 'https://desk.example/path'],
    ['STARCITE_CORS_ORIGIN', 'null'],
    ['STARCITE_CORS_ORIGIN', 'https://*.desk.example'],
    ['STARCITE_ALLOWED_HOSTS', 'https://api.example'],
    ['STARCITE_ALLOWED_HOSTS', 'api.example:4000'],
  ] as const)
    it(`${name} is not ${value}`, () => {
      expect(() => loadConfig({ [name]: value })).to.throw(name)
    })

  it('a node without tokens listens on 127.0.0.1 alone, and logs a warning when a setting widens that', async () => {
    const port = await freePort()
    const { child } = runProgram({ DATABASE_URL: database.url, PORT: String(port), STARCITE_HOST: '' })
    try {
      await until('it is ready', () =>
        fetch(`http://localhost:${port}/health/ready`).then(
          ({ ok }) => ok,
          () => false,
        ),
      )
      const elsewhere = createConnection({ host: '127.0.0.2', port })
      const [error] = await once(elsewhere, 'error')
      expect(error.code).to.equal('ECONNREFUSED')
    } finally {
      child.kill('SIGKILL')
    }

    const warnings = (settings: Record<string, string>) => {
      const said: string[] = []
      warnOfOpenAccess(loadConfig(settings), {
        warn: (_: object, text: string) => said.push(text),
      } as unknown as Log)
      return said
    }
    expect(warnings({})).to.deep.equal([])
    expect(warnings({ STARCITE_HOST: '0.0.0.0' }).join()).to.include('STARCITE_HOST')
    expect(warnings({ STARCITE_CORS_ORIGIN: '*' }).join()).to.include('any web page')
  })
})
