import { expect } from 'chai'
import { toPrincipal } from '../../src/auth/claims.ts'
import { AppError } from '../../src/protocol/errors.ts'

const { signal } = new AbortController()
const STRICT = { defaultTenant: undefined, defaultScopes: undefined, leewaySeconds: 30 }
const GOOD = { sub: 'user:ann', exp: 1000, tenant_id: 'acme', scope: 'session:read' }

const principal = (more: object, options: object = {}) =>
  toPrincipal({ ...GOOD, ...more }, { ...STRICT, ...options }, signal)

function refusal(more: object, options: object = {}): string {
  try {
    principal(more, options)
  } catch (error) {
    if (error instanceof AppError && error.code === 'unauthorized') return error.message
    throw error
  }
  return 'taken'
}

describe('the claims of a token', () => {
  it('say who comes, on whose behalf, for what, until when', () => {
    expect(principal({ session_id: 'ses_1' })).to.deep.equal({
      tenantId: 'acme',
      actor: 'user:ann',
      kind: 'user',
      scopes: new Set(['session:read']),
      sessionId: 'ses_1',
      expiresAtMs: 1_030_000,
      withdrawn: signal,
    })
  })

  it('tell kinds by what is before the colon, and keep the sub as it stands', () => {
    const kinds = [
      'user:a',
      'agent:a',
      'service:a',
      'svc:a',
      'org:a',
      'auth0|1',
      'Agent:a',
      ':a',
      '__proto__:a',
    ]

    expect(kinds.map((sub) => principal({ sub })).map((it) => [it.actor, it.kind])).to.deep.equal([
      ['user:a', 'user'],
      ['agent:a', 'agent'],
      ['service:a', 'service'],
      ['svc:a', 'service'],
      ['org:a', 'service'],
      ['auth0|1', 'user'],
      ['Agent:a', 'user'],
      [':a', 'user'],
      ['__proto__:a', 'user'],
    ])
  })

  it('give scopes by either claim, and only those that there are', () => {
    const scopes = (more: object) => [...principal({ scope: undefined, ...more }).scopes]

    expect(scopes({ scope: 'openid session:append session:read' })).to.deep.equal([
      'session:read',
      'session:append',
    ])
    expect(scopes({ scopes: ['session:create', 'session:delete'] })).to.deep.equal(['session:create'])
    expect(scopes({ scope: 'session:read', scopes: ['session:create'] })).to.have.length(2)
    for (const none of [{ scope: '' }, { scopes: [] }, { scope: 'Session:Read' }, { scope: 'session:*' }])
      expect(scopes(none), JSON.stringify(none)).to.deep.equal([])
  })

  it('that are absent are what the defaults say, and refused without defaults', () => {
    const { tenant_id: _, scope: __, ...bare } = GOOD
    const bareWith = (options: object) => toPrincipal(bare, { ...STRICT, ...options }, signal)

    expect(bareWith({ defaultTenant: 'main', defaultScopes: new Set(['session:read']) })).to.include({
      tenantId: 'main',
    })
    expect(() => bareWith({ defaultTenant: 'main' })).to.throw(/neither scope nor scopes/)
    expect(() => bareWith({ defaultScopes: new Set() })).to.throw(/has no tenant_id/)
  })

  it('that are there and wrong are refused, whatever the defaults', () => {
    const options = { defaultTenant: 'main', defaultScopes: new Set(['session:read']) }
    const ids = [null, 7, '', {}, [], ['a'], 'x'.repeat(257), 'a\0', 'a\nb', '\ud800']

    for (const value of ids)
      for (const name of ['tenant_id', 'session_id'])
        expect(refusal({ [name]: value }, options), `${name} ${JSON.stringify(value)}`).to.include(name)
    for (const sub of [undefined, null, 7, '', 'x'.repeat(513), 'a\0', '\ud800'])
      expect(refusal({ sub }, options), JSON.stringify(sub)).to.include('sub')
    for (const exp of [undefined, null, '1000', Number.POSITIVE_INFINITY])
      expect(refusal({ exp }, options), String(exp)).to.include('exp')
    for (const more of [
      { scope: ['session:read'] },
      { scope: null },
      { scopes: 'session:read' },
      { scopes: [7] },
      { scopes: null },
    ])
      expect(refusal(more, options), JSON.stringify(more)).to.include('scope')
  })
})
