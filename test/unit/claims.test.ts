import { expect } from 'chai'
import { claimNames, type Preset } from '../../src/auth/claimNames.ts'
import { toPrincipal } from '../../src/auth/claims.ts'
import { AppError } from '../../src/protocol/errors.ts'

const { signal } = new AbortController()
const STRICT = {
  names: claimNames('none', {}),
  scopeMap: new Map(),
  defaultTenant: undefined,
  defaultScopes: undefined,
  leewaySeconds: 30,
}
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

    expect(
      kinds.map((sub) => principal({ sub })).map((principal) => [principal.actor, principal.kind]),
    ).to.deep.equal([
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
    expect(() => bareWith({ defaultTenant: 'main' })).to.throw(/none of scope, scopes, scp/)
    expect(() => bareWith({ defaultScopes: new Set() })).to.throw(/has no tenant_id/)
  })

  it('that are present and wrong are refused, regardless of the defaults', () => {
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

  it('are given the default scopes only when they state none in any known way', () => {
    const { scope: _, ...bare } = GOOD
    const options = { ...STRICT, defaultScopes: new Set(['session:create'] as const) }
    const scopes = (more: object) => [...toPrincipal({ ...bare, ...more }, options, signal).scopes]

    for (const bareToken of [{}, { groups: ['a'] }, { role: 'authenticated' }, { sid: 'session:1' }])
      expect(scopes(bareToken), JSON.stringify(bareToken)).to.deep.equal(['session:create'])
    expect(scopes({ scp: ['session:read', 'session:append'] })).to.deep.equal([
      'session:read',
      'session:append',
    ])
    expect(scopes({ scp: 'session:read' })).to.deep.equal(['session:read'])
    for (const stated of [
      { scope: '' },
      { scp: [] },
      { scp: 'openid' },
      { permissions: ['session:read'] },
      { permissions: [] },
      { permissions: null },
      { roles: ['admin'] },
      { 'https://acme.example/permissions': ['session:read'] },
      { 'https://acme.example/roles': [] },
      { 'custom:scope': '' },
      { Scope: 'openid' },
      { authorities: ['reader'] },
      { realm_access: { roles: ['reader'] } },
      { resource_access: {} },
      { may: ['session:read'] },
      { may: 'session:read,session:append' },
    ])
      expect(scopes(stated), JSON.stringify(stated)).to.deep.equal([])
    for (const wrong of [{ scp: 7 }, { scp: [7] }, { scp: null }])
      expect(refusal({ ...wrong }, options), JSON.stringify(wrong)).to.include('scp')
  })

  it('are translated where the issuer has names of its own for scopes', () => {
    const scopeMap = new Map([
      ['sessions/read', new Set(['session:read'])],
      ['admin', new Set(['session:create', 'session:erase'])],
    ])
    const scopes = (scope: string) => [...principal({ scope }, { scopeMap }).scopes]

    expect(scopes('openid sessions/read')).to.deep.equal(['session:read'])
    expect(scopes('admin session:append')).to.deep.equal([
      'session:create',
      'session:append',
      'session:erase',
    ])
    expect(scopes('constructor toString')).to.deep.equal([])
  })

  /** Tokens as the issuers' own documentation shows them, with what Starcite looks at. */
  const ISSUED: [Preset, object, object, object][] = [
    [
      'okta',
      {
        ver: 1,
        aud: 'api://starcite',
        cid: '0oabucvyc38HLL1ef0g7',
        uid: '00ua5lpgX9m8mB0g50g4',
        scp: ['openid', 'session:read'],
        sub: 'ann@acme.example',
        tenant_id: 'acme',
      },
      {},
      { tenantId: 'acme', actor: 'ann@acme.example', kind: 'user', scopes: new Set(['session:read']) },
    ],
    [
      'entra',
      {
        aud: 'api://starcite',
        azp: '11112222-bbbb-3333-cccc-4444dddd5555',
        oid: 'aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb',
        sub: 'HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ',
        scp: 'session:read session:append',
        tid: 'aaaabbbb-0000-cccc-1111-dddd2222eeee',
        sid: 'a-browser-session',
      },
      {},
      {
        tenantId: 'aaaabbbb-0000-cccc-1111-dddd2222eeee',
        actor: 'aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb',
        kind: 'user',
        sessionId: null,
        scopes: new Set(['session:read', 'session:append']),
      },
    ],
    [
      'entra',
      { oid: 'app-1', sub: 'app-1', tid: 'acme', idtyp: 'app', roles: ['Sessions.Write'] },
      { scopeMap: new Map([['Sessions.Write', new Set(['session:append'])]]) },
      { actor: 'app-1', kind: 'service', scopes: new Set(['session:append']) },
    ],
    [
      'auth0',
      {
        sub: 'auth0|507f1f77bcf86cd799439011',
        aud: ['https://starcite.example', 'https://acme.auth0.com/userinfo'],
        org_id: 'org_9ybsU1dN2dKfDkBi',
        scope: 'openid profile session:create',
        permissions: ['session:read'],
      },
      {},
      { tenantId: 'org_9ybsU1dN2dKfDkBi', kind: 'user', scopes: new Set(['session:read']) },
    ],
    [
      'auth0',
      {
        sub: 'abc@clients',
        gty: 'client-credentials',
        'https://acme.example/tenant': 'acme',
        permissions: [],
      },
      { names: claimNames('auth0', { tenant: 'https://acme.example/tenant' }) },
      { tenantId: 'acme', kind: 'service', scopes: new Set() },
    ],
    [
      'cognito',
      {
        sub: 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee',
        client_id: '1example23456789',
        token_use: 'access',
        scope: 'sessions/read sessions/append',
        'cognito:groups': ['acme'],
      },
      {
        defaultTenant: 'acme',
        scopeMap: new Map([
          ['sessions/read', new Set(['session:read'])],
          ['sessions/append', new Set(['session:append'])],
        ]),
      },
      { tenantId: 'acme', scopes: new Set(['session:read', 'session:append']) },
    ],
    [
      'clerk',
      {
        azp: 'https://app.acme.example',
        sub: 'user_2bq2fqs1VqMDqFz1',
        sid: 'sess_2bq2fqs1',
        o: { id: 'org_123', rol: 'admin', slg: 'acme' },
      },
      { defaultScopes: new Set(['session:read']) },
      {
        tenantId: 'org_123',
        actor: 'user_2bq2fqs1VqMDqFz1',
        sessionId: null,
        scopes: new Set(['session:read']),
      },
    ],
    [
      'supabase',
      { sub: '123e4567', role: 'authenticated', session_id: 'its own session', tenant_id: 'acme' },
      { defaultScopes: new Set(['session:read']) },
      { sessionId: null, scopes: new Set(['session:read']) },
    ],
  ]
  for (const [preset, claims, options, expected] of ISSUED)
    it(`are read where ${preset} puts them: ${Object.keys(claims).join(', ')}`, () => {
      const names = claimNames(preset, {})
      expect(toPrincipal({ exp: 1000, ...claims }, { ...STRICT, names, ...options }, signal)).to.deep.include(
        expected,
      )
    })

  it('may lie within others, and a claim that is not there is never found on the way', () => {
    const names = claimNames('none', { tenant: '/app~1meta/tenant', session: 'none' })
    const bare = { sub: 'user:ann', exp: 1000, scope: '', session_id: 'ignored' }
    const tenantOf = (more: object) =>
      toPrincipal({ ...bare, ...more }, { ...STRICT, names }, signal).tenantId

    expect(tenantOf({ 'app/meta': { tenant: 'acme' } })).to.equal('acme')
    for (const other of [{}, { 'app/meta': null }, { 'app/meta': 'tenant' }, { 'app/meta': {} }])
      expect(() => tenantOf(other), JSON.stringify(other)).to.throw(/has no \/app~1meta\/tenant/)
    const inherited = { ...STRICT, names: claimNames('none', { tenant: '/constructor/name' }) }
    expect(() => toPrincipal({ ...bare }, inherited, signal)).to.throw(/has no/)
  })
})
