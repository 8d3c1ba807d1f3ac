import { expect } from 'chai'
import { asyncApi } from '../../src/http/contract/asyncapi.ts'
import { openApi } from '../../src/http/contract/openapi.ts'
import { OPERATIONS } from '../../src/http/operations.ts'
import { AppError } from '../../src/protocol/errors.ts'
import { call } from '../support/client.ts'
import { startGuardedNode } from '../support/guardedNode.ts'
import { use } from '../support/use.ts'
import { useDatabase } from '../support/useNode.ts'

const RELEASE = '0.0.0-test'

describe('the contract for machines, served', () => {
  const database = useDatabase()
  const node = use(() =>
    startGuardedNode(database, {
      authenticate: () => Promise.reject(new AppError('unauthorized', 'no token is accepted')),
    }),
  )

  for (const [path, document] of [
    ['/openapi.json', openApi(OPERATIONS, { release: RELEASE, eraseScope: 'session:create' })],
    ['/asyncapi.json', asyncApi(RELEASE)],
  ] as const)
    it(`${path} needs no token, is complete, and may be cached`, async () => {
      const answer = await call('GET', node.url + path, undefined, { origin: 'https://docs.example' })
      const etag = answer.headers.get('etag') ?? ''

      expect([answer.status, answer.json]).to.deep.equal([200, JSON.parse(JSON.stringify(document))])
      expect(etag).to.match(/^"[\w-]{43}"$/)
      expect(answer.headers.get('cache-control')).to.equal('public, max-age=300')
      expect(answer.headers.get('access-control-allow-origin')).to.equal('*')

      const [kept, stale, head] = await Promise.all([
        call('GET', node.url + path, undefined, { 'if-none-match': etag }),
        call('GET', node.url + path, undefined, { 'if-none-match': '"another"' }),
        call('HEAD', node.url + path),
      ])
      expect([kept.status, kept.text, kept.headers.get('etag')]).to.deep.equal([304, '', etag])
      expect([stale.status, head.status]).to.deep.equal([200, 200])
      expect(head.headers.get('content-length')).to.equal(String(Buffer.byteLength(answer.text)))
    })
})
