import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { PRESETS } from '../../src/auth/claimNames.ts'
import { SCOPES } from '../../src/auth/principal.ts'
import { maskSecrets } from '../../src/cli/maskSecrets.ts'
import { type Config, ConfigError, loadConfig, unknownSettings } from '../../src/config.ts'

interface Documented {
  readonly name: string
  readonly default: string
  readonly range: string
}

/** The rows of the page's tables of variables. */
function documented(): Documented[] {
  const page = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8')
  return [...page.matchAll(/^\| `([A-Z_0-9]+)` \|([^|]*)\|([^|]*)\|/gm)].map((row) => ({
    name: row[1] as string,
    default: (row[2] as string).replaceAll('`', '').trim(),
    range: (row[3] as string).trim(),
  }))
}

/** The names that are asked for. */
function variablesRead(): string[] {
  const names = new Set<string>()
  loadConfig(
    new Proxy(
      {},
      {
        get(_, name) {
          names.add(String(name))
          return undefined
        },
      },
    ),
  )
  return [...names]
}

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    loadConfig(env)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

describe('the configuration', () => {
  it('stands without any variable, and cannot be changed afterwards', () => {
    const config = loadConfig({})

    expect(config).to.include({ port: 4000, opsPort: undefined })
    expect(config.database).to.include({ url: undefined, directUrl: undefined })
    expect(() => {
      ;(config as { port: number }).port = 1
    }).to.throw(TypeError)
  })

  it('takes DATABASE_URL before its other name, for LISTEN too unless that has its own', () => {
    const [a, b, c] = ['postgres://a/db', 'postgres://b/db', 'postgres://c/db'] as const
    const urls = (env: Record<string, string>): Pick<Config['database'], 'url' | 'directUrl'> => {
      const { url, directUrl } = loadConfig(env).database
      return { url, directUrl }
    }

    expect(urls({ DATABASE_URL: a, STARCITE_POSTGRES_URL: b })).to.deep.equal({ url: a, directUrl: a })
    expect(urls({ STARCITE_POSTGRES_URL: b })).to.deep.equal({ url: b, directUrl: b })
    expect(urls({ DATABASE_URL: a, STARCITE_LISTEN_URL: c })).to.deep.equal({ url: a, directUrl: c })
  })

  it('leaves a connection that does not append, however small the pool', () => {
    expect(loadConfig({ DB_POOL_SIZE: '3' }).append.connections).to.equal(1)
    expect(problemsOf({ DB_POOL_SIZE: '4', STARCITE_APPEND_CONNECTIONS: '3' })).to.deep.equal([
      'STARCITE_APPEND_CONNECTIONS must be an integer from 1 to 2; it is "3"',
    ])
  })

  describe('of checkpoints', () => {
    const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string

    it('takes the key with its line ends, or with what stands for them', () => {
      expect(loadConfig({ STARCITE_CHECKPOINT_KEY: pem }).checkpoints.privateKey).to.equal(pem.trim())
      const oneLine = pem.replaceAll('\n', '\\n')
      expect(loadConfig({ STARCITE_CHECKPOINT_KEY: oneLine }).checkpoints.privateKey).to.equal(pem)
    })

    it('refuses a key of another kind, and two, without repeating what may be one', () => {
      const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
      for (const wrong of [rsa.export({ type: 'pkcs8', format: 'pem' }) as string, 'hunter2']) {
        const problems = problemsOf({ STARCITE_CHECKPOINT_KEY: wrong })
        expect(problems).to.have.lengthOf(1)
        expect(problems[0]).to.match(/^STARCITE_CHECKPOINT_KEY must be an Ed25519/)
        expect(problems[0]).not.to.include(wrong.slice(30, 60) || wrong)
      }
      expect(
        problemsOf({ STARCITE_CHECKPOINT_KEY: pem, STARCITE_CHECKPOINT_KEY_FILE: 'key.pem' }),
      ).to.deep.equal(['only one of STARCITE_CHECKPOINT_KEY and STARCITE_CHECKPOINT_KEY_FILE can be set'])
    })

    it('is printed without the key', () => {
      const printed = JSON.stringify(maskSecrets(loadConfig({ STARCITE_CHECKPOINT_KEY: pem })))
      expect(printed).to.include('"privateKey":"(set, not shown)"')
    })
  })

  describe('of cold storage', () => {
    const archive = (env: Record<string, string>) => loadConfig(env).archive

    it('is the table without a bucket, and the bucket with one, unless it is said', () => {
      expect(archive({})).to.deep.equal({ adapter: 'postgres', s3: undefined })
      expect(archive({ STARCITE_S3_BUCKET: 'b', STARCITE_ARCHIVE_ADAPTER: 'postgres' }).s3).to.equal(
        undefined,
      )
      expect(archive({ STARCITE_S3_BUCKET: 'b' })).to.deep.equal({
        adapter: 's3',
        s3: {
          bucket: 'b',
          region: 'us-east-1',
          endpoint: undefined,
          credentials: undefined,
          prefix: 'starcite',
          pathStyle: true,
        },
      })
    })

    it('takes what AWS calls it where our own names are not set', () => {
      const aws = {
        STARCITE_S3_BUCKET: 'b',
        AWS_REGION: 'eu-west-1',
        AWS_DEFAULT_REGION: 'eu-west-2',
        AWS_ENDPOINT_URL: 'http://all',
        AWS_ENDPOINT_URL_S3: 'http://s3',
        AWS_ACCESS_KEY_ID: 'aws id',
        AWS_SECRET_ACCESS_KEY: 'aws secret',
        AWS_SESSION_TOKEN: 'aws token',
      }
      const own = {
        STARCITE_S3_REGION: 'auto',
        STARCITE_S3_ENDPOINT: 'https://own',
        STARCITE_S3_ACCESS_KEY_ID: 'id',
        STARCITE_S3_SECRET_ACCESS_KEY: 'secret',
      }

      expect(archive(aws).s3).to.deep.include({
        region: 'eu-west-1',
        endpoint: 'http://s3',
        credentials: { accessKeyId: 'aws id', secretAccessKey: 'aws secret', sessionToken: 'aws token' },
      })
      expect(archive({ ...aws, ...own }).s3).to.deep.include({
        region: 'auto',
        endpoint: 'https://own',
        credentials: { accessKeyId: 'id', secretAccessKey: 'secret' },
      })
    })

    it('refuses s3 without a bucket and half a key, and says no secret', () => {
      expect(problemsOf({ STARCITE_ARCHIVE_ADAPTER: 's3' })).to.deep.equal([
        'STARCITE_S3_BUCKET must be set when STARCITE_ARCHIVE_ADAPTER is s3',
      ])
      expect(problemsOf({ STARCITE_S3_SECRET_ACCESS_KEY: 'hunter2', AWS_ACCESS_KEY_ID: 'x' })).to.deep.equal([
        'STARCITE_S3_ACCESS_KEY_ID must be set when STARCITE_S3_SECRET_ACCESS_KEY is',
      ])
      expect(problemsOf({ STARCITE_S3_BUCKET: 'b', AWS_ACCESS_KEY_ID: 'hunter2' })).to.deep.equal([
        'AWS_SECRET_ACCESS_KEY must be set when AWS_ACCESS_KEY_ID is',
      ])
      expect(problemsOf({ STARCITE_S3_ENDPOINT: 'ftp://user:hunter2@host' })).to.deep.equal([
        'STARCITE_S3_ENDPOINT must be an http:// or https:// URL',
      ])
    })

    it('does not mind what AWS_* says when there is no bucket', () => {
      expect(archive({ AWS_ACCESS_KEY_ID: 'x' }).adapter).to.equal('postgres')
    })
  })

  describe('of tokens', () => {
    const JWT = {
      STARCITE_AUTH_MODE: 'jwt',
      STARCITE_AUTH_JWKS_URL: 'https://issuer.example/jwks.json',
      STARCITE_AUTH_JWT_ISSUER: 'https://issuer.example',
      STARCITE_AUTH_JWT_AUDIENCE: 'starcite',
    }

    it('is all there, or none of it', () => {
      expect(loadConfig(JWT).auth.jwt).to.deep.equal({
        jwksUrl: 'https://issuer.example/jwks.json',
        issuer: 'https://issuer.example',
        audiences: ['starcite'],
        preset: 'none',
        claims: {
          tenant: undefined,
          actor: undefined,
          session: undefined,
          scopes: undefined,
          audience: undefined,
          service: undefined,
        },
        scopeMap: new Map(),
        leewaySeconds: 30,
        refreshMs: 60_000,
        maxAgeMs: 86_400_000,
        cachedTokens: 20_000,
        defaultTenant: undefined,
        defaultScopes: undefined,
      })
      expect(loadConfig({}).auth).to.deep.equal({ mode: 'none', jwt: undefined })
      expect(problemsOf({ STARCITE_AUTH_MODE: 'jwt' }).map((problem) => problem.split(' ')[0])).to.deep.equal(
        ['STARCITE_AUTH_JWKS_URL', 'STARCITE_AUTH_JWT_ISSUER', 'STARCITE_AUTH_JWT_AUDIENCE'],
      )
    })

    it('is not left out silently: its settings without STARCITE_AUTH_MODE are an error', () => {
      const { STARCITE_AUTH_MODE: _, ...forgotten } = JWT

      expect(problemsOf(forgotten)).to.have.length(3)
      expect(problemsOf({ ...forgotten, STARCITE_AUTH_MODE: 'none' })).to.deep.equal([])
    })

    it('takes keys over http:// from this machine, and from elsewhere only when told to', () => {
      const from = (url: string, more = {}) => problemsOf({ ...JWT, STARCITE_AUTH_JWKS_URL: url, ...more })

      for (const url of ['http://localhost:1/k', 'http://127.0.0.1/k', 'http://[::1]:9/k'])
        expect(from(url), url).to.deep.equal([])
      for (const url of ['http://issuer/k', 'http://127.0.0.1.evil.example/k', 'http://localhost.example/k'])
        expect(from(url), url).to.have.length(1)
      expect(from('http://issuer/k', { STARCITE_AUTH_JWKS_ALLOW_HTTP: 'true' })).to.deep.equal([])
    })

    it('does not let keys grow too old between two fetches', () => {
      expect(problemsOf({ ...JWT, STARCITE_AUTH_JWKS_MAX_AGE: '59s' })).to.deep.equal([
        'STARCITE_AUTH_JWKS_MAX_AGE must be at least STARCITE_AUTH_JWKS_REFRESH_MS',
      ])
    })

    it('knows every preset and every scope that there is', () => {
      for (const preset of Object.keys(PRESETS))
        expect(problemsOf({ ...JWT, STARCITE_AUTH_PRESET: preset }), preset).to.deep.equal([])
      for (const scope of SCOPES)
        expect(problemsOf({ ...JWT, STARCITE_AUTH_SCOPE_MAP: `x=${scope}` }), scope).to.deep.equal([])
    })

    it('maps what the issuer calls scopes, and says which of ours is none', () => {
      const map = (value: string) => loadConfig({ ...JWT, STARCITE_AUTH_SCOPE_MAP: value }).auth.jwt?.scopeMap

      expect(map('a=b/c=session:read, a=b/c=session:append admin=session:act_as')).to.deep.equal(
        new Map([
          ['a=b/c', new Set(['session:read', 'session:append'])],
          ['admin', new Set(['session:act_as'])],
        ]),
      )
      expect(problemsOf({ ...JWT, STARCITE_AUTH_SCOPE_MAP: 'admin=session:all' })).to.deep.equal([
        'STARCITE_AUTH_SCOPE_MAP must map names to some of session:create, session:read, session:append, session:erase, session:act_as; "admin" is mapped to "session:all"',
      ])
      for (const wrong of ['admin', 'admin=', '=session:read'])
        expect(problemsOf({ ...JWT, STARCITE_AUTH_SCOPE_MAP: wrong }), wrong).to.have.length(1)
      expect(problemsOf({ ...JWT, STARCITE_AUTH_PRESET: 'keycloak' })[0]).to.match(
        /^STARCITE_AUTH_PRESET must be one of/,
      )
    })

    it('knows four scopes', () => {
      const scopes = (value: string) =>
        loadConfig({ ...JWT, STARCITE_AUTH_DEFAULT_SCOPES: value }).auth.jwt?.defaultScopes

      expect(scopes('session:read, session:append')).to.deep.equal(
        new Set(['session:read', 'session:append']),
      )
      expect(problemsOf({ STARCITE_AUTH_DEFAULT_SCOPES: 'session:read session:delete' })).to.deep.equal([
        'STARCITE_AUTH_DEFAULT_SCOPES must be some of session:create, session:read, session:append, session:erase; it is "session:read session:delete"',
      ])
    })
  })

  it('reports every problem together, without the passwords', () => {
    const problems = problemsOf({
      PORT: 'abc',
      DB_POOL_SIZE: '2',
      DATABASE_URL: 'mysql://root:hunter2@db/x',
      STARCITE_LISTEN_URL: 'hunter2',
      STARCITE_AUTH_MODE: 'basic',
      STARCITE_RING_BYTES: 'much',
      STARCITE_PREPARED_STATEMENTS: 'maybe',
    })

    expect(problems.map((problem) => problem.split(' ')[0])).to.have.members([
      'PORT',
      'DB_POOL_SIZE',
      'DATABASE_URL',
      'STARCITE_LISTEN_URL',
      'STARCITE_AUTH_MODE',
      'STARCITE_RING_BYTES',
      'STARCITE_PREPARED_STATEMENTS',
    ])
    expect(new ConfigError(problems).message)
      .to.match(/has 7 problem\(s\):\n {2}- /)
      .and.not.include('hunter2')
  })
})

describe('settings that there are not', () => {
  it('are found, with the name that was meant', () => {
    expect(
      unknownSettings({
        STARCITE_HOT_RETENTON: '1h',
        STARCITE_SOMETHING_ELSE: '1',
        STARCITE_HOT_RETENTION: '1h',
        STARCITE_URL: 'http://localhost:4000',
        STARCITE_AUTH_TENANT_CLAIM: 'org_id',
        PATH: '/bin',
      }),
    ).to.deep.equal([
      { name: 'STARCITE_HOT_RETENTON', near: 'STARCITE_HOT_RETENTION' },
      { name: 'STARCITE_SOMETHING_ELSE', near: undefined },
    ])
  })
})

describe('docs/configuration.md', () => {
  it('lists the variables that are read, each once, and no others', () => {
    expect(documented().map((setting) => setting.name)).to.have.members(variablesRead())
  })

  for (const row of documented()) {
    if (row.default !== '' && !row.name.endsWith('_URL'))
      it(`says truly what ${row.name} is when it is not set`, () => {
        expect(loadConfig({ [row.name]: row.default })).to.deep.equal(loadConfig({}))
      })

    if (row.range !== '')
      it(`says truly what ${row.name} may be`, () => {
        const [problem] = problemsOf({ [row.name]: 'nonsense' })

        expect(problem)
          .to.match(new RegExp(`^${row.name} must be `))
          .and.include(row.range)
      })
  }
})
