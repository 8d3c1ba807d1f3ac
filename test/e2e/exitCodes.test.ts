import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { expect } from 'chai'
import { EXIT } from '../../src/cli/exit.ts'
import { buildCommand, starcite } from '../support/commandLine.ts'
import { freePort } from '../support/node.ts'
import { makeScratch } from '../support/scratch.ts'
import { useConnection, useDatabase, useEmptyDatabase } from '../support/useNode.ts'

type Outcome = keyof typeof EXIT
interface Case {
  readonly words: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

describe('the exit codes of starcite', function () {
  this.timeout(120_000)
  const empty = useEmptyDatabase()
  const newer = useDatabase()
  const admin = useConnection(newer)
  let folder: string

  before(async () => {
    await buildCommand()
    folder = await makeScratch('exit')
  })
  after(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))

  const CASES: Readonly<Record<Outcome, () => Promise<readonly Case[]>>> = {
    ok: async () => [{ words: ['--help'] }, { words: ['help', 'serve'] }, { words: ['--version'] }],
    failed: async () => [
      { words: ['sessions', '--url', `http://127.0.0.1:${await freePort()}`] },
      { words: ['healthcheck'], env: { PORT: String(await freePort()) } },
    ],
    usage: async () => [
      { words: ['no-such-verb'] },
      { words: ['migrate', '--no-such-option'] },
      { words: ['hold', 'add', 'ses_demo'] },
      ...['serve', 'migrate', 'tier', 'hold', 'check-config', 'healthcheck'].map((verb) => ({
        words: [verb],
        env: { PORT: 'abc' },
      })),
    ],
    port: async () => {
      const port = String(await takenPort())
      return [
        { words: ['token', '--serve-jwks', '--port', port] },
        { words: ['serve'], env: { DATABASE_URL: empty.url, PORT: port } },
      ]
    },
    database: async () => {
      const away = {
        DATABASE_URL: `postgres://postgres@127.0.0.1:${await freePort()}/app`,
        STARCITE_STARTUP_WAIT: '0s',
      }
      return [
        ...['migrate', 'tier', 'hold', 'psql'].map((verb) => ({ words: [verb] })),
        ...['serve', 'migrate', 'tier'].map((verb) => ({ words: [verb], env: { ...away, PORT: '0' } })),
        { words: ['audit', 'verify'], env: { DATABASE_URL: empty.url } },
      ]
    },
    schema: async () => {
      await admin.query(
        `insert into starcite.migrations (name, run_on) values ('9999_from_the_future', now())`,
      )
      const env = { DATABASE_URL: newer.url, PORT: '0' }
      return ['serve', 'migrate', 'tier'].map((verb) => ({ words: [verb], env }))
    },
  }

  for (const [outcome, code] of Object.entries(EXIT))
    it(`has ${code} for "${outcome}", whichever verb ends so`, async () => {
      const cases = await CASES[outcome as Outcome]()

      for (const { words, env = {} } of cases) {
        const ended = await starcite(words, { cwd: folder, env })
        expect(ended.code, `starcite ${words.join(' ')}: ${ended.out}${ended.err}`).to.equal(code)
      }
    })

  async function takenPort(): Promise<number> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    server.unref()
    return (server.address() as { port: number }).port
  }
})
