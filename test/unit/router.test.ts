import { expect } from 'chai'
import { Router } from '../../src/http/router.ts'

describe('the router', () => {
  const router = new Router<string>()
  router.add(['HEAD', 'GET'], '/v1/sessions', 'list')
  router.add(['POST'], '/v1/sessions', 'create')
  router.add(['GET'], '/v1/sessions/:id', 'get')
  router.add(['GET'], '/v1/sessions/:id/events', 'events')
  router.add(['POST'], '/v1/sessions/:id/events/:seq/redact', 'redact')
  router.add(['GET'], '/v1/sessions/mine', 'mine')
  const found = (path: string, method = 'GET') => router.find(path)?.handlers.get(method)

  it('finds the handler of a method and path, and the methods that a path has', () => {
    expect(found('/v1/sessions')).to.equal('list')
    expect(found('/v1/sessions', 'POST')).to.equal('create')
    expect([...(router.find('/v1/sessions')?.handlers.keys() ?? [])]).to.deep.equal(['HEAD', 'GET', 'POST'])
    expect(router.find('/v1/sessions/a/events/7/redact')).to.deep.include({
      path: '/v1/sessions/:id/events/:seq/redact',
      parameters: { id: 'a', seq: '7' },
    })
  })

  it('prefers a literal segment, and ignores one slash at the end', () => {
    expect(found('/v1/sessions/mine')).to.equal('mine')
    expect(found('/v1/sessions/')).to.equal('list')
    expect(found('/v1/sessions/x/')).to.equal('get')
    expect(found('/v1/sessions//')).to.equal(undefined)
  })

  it('decodes parameters, and leaves what is not percent-encoded properly as it came', () => {
    expect(router.find('/v1/sessions/a%2Fb%20c')?.parameters).to.deep.equal({ id: 'a/b c' })
    expect(router.find('/v1/sessions/100%')?.parameters).to.deep.equal({ id: '100%' })
    expect(router.find('/v1/sessions/__proto__')?.parameters).to.deep.equal({ id: '__proto__' })
  })

  for (const path of [
    '',
    '/',
    '/v1',
    '/V1/sessions',
    'v1/sessions',
    '/v1/sessions//events',
    '/v1/sessions/x/y',
    '/constructor',
  ])
    it(`finds nothing at ${JSON.stringify(path)}`, () => {
      expect(router.find(path)).to.equal(undefined)
    })

  it('refuses a second handler for a method and path, and two names for one parameter', () => {
    expect(() => router.add(['GET'], '/v1/sessions/:id', 'again')).to.throw('declared twice')
    expect(() => router.add(['GET'], '/v1/sessions/:session/tail', 'tail')).to.throw('is named id elsewhere')
  })
})
