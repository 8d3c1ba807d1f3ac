import { expect } from 'chai'
import { unique } from '../support/answers.ts'
import { call } from '../support/client.ts'
import { RawConnection } from '../support/rawHttp.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

const EXPECTED = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cache-control': 'no-store',
}

describe('the headers of every answer', () => {
  const database = useDatabase()
  const node = useNode(database)

  it('tell browsers to render, frame, sniff and keep nothing, good or bad, preflight or health', async () => {
    const id = unique()
    const answers = [
      await call('POST', `${node.url}/v1/sessions`, { id }),
      await call('POST', `${node.url}/v1/sessions/${id}/append`, { type: 'a', payload: {} }),
      await call('GET', `${node.url}/v1/sessions/${id}/events`),
      await call('GET', `${node.url}/v1/sessions/${id}/tail`),
      await call('POST', `${node.url}/v1/sessions`, '{'),
      await call('POST', `${node.url}/v1/sessions`, 'a=1', {
        'content-type': 'application/x-www-form-urlencoded',
      }),
      await call('POST', `${node.url}/v1/sessions`, 'x'.repeat(2 * 1024 * 1024)),
      await call('GET', `${node.url}/nowhere`),
      await call('DELETE', `${node.url}/v1/sessions`),
      await call('OPTIONS', `${node.url}/v1/sessions`, undefined, {
        origin: 'http://localhost:5173',
        'access-control-request-method': 'POST',
      }),
      await call('GET', `${node.url}/health/ready`),
      await call('GET', `${node.url}/metrics`),
      await call('GET', `${node.url}/version`),
    ]

    expect(answers.map(({ status }) => status)).to.deep.equal([
      201, 201, 200, 400, 400, 415, 413, 404, 405, 204, 200, 200, 200,
    ])
    for (const { headers, status } of answers) {
      expect(Object.fromEntries(headers), String(status)).to.include(EXPECTED)
      expect(headers.get('strict-transport-security'), 'the proxy that terminates TLS sets it').to.equal(null)
      expect(headers.get('x-powered-by')).to.equal(null)
    }
  })

  it('stand on answers to what never was a request, too', async () => {
    for (const bytes of [
      'noise\r\n\r\n',
      'GET / HTTP/1.1\r\n\r\n',
      `GET /${'x'.repeat(50_000)} HTTP/1.1\r\n\r\n`,
    ]) {
      const connection = await RawConnection.open(node.url)
      const answer = await connection.send(bytes).answer()

      for (const [name, value] of Object.entries(EXPECTED))
        expect(answer?.headers.toLowerCase()).to.include(`${name}: ${value}`)
      connection.destroy()
    }
  })
})
