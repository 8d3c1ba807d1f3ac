import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, rm, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { freePort, type NodeProcess, type Settings, spawnNode } from '../support/node.ts'
import type { FreshDatabase } from '../support/postgres.ts'
import { makeScratch } from '../support/scratch.ts'
import { migratedDatabase } from '../support/template.ts'
import { until } from '../support/until.ts'

const ROOT = new URL('../../', import.meta.url)
const run = promisify(execFile)

describe('docs/auth-quick-start.md', function () {
  this.timeout(120_000)
  let folder: string
  let database: FreshDatabase
  let backend: ReturnType<typeof spawn> | undefined
  let node: NodeProcess | undefined

  before(async () => {
    folder = await makeScratch('auth-quick-start')
    database = await migratedDatabase()
  })
  after(async () => {
    await node?.kill('SIGKILL')
    if (backend?.exitCode === null) {
      const ended = once(backend, 'close')
      backend.kill('SIGKILL')
      await ended
    }
    await database?.drop()
    await rm(folder, { recursive: true, force: true })
  })

  it('gets from a new key to an event with the actor of the token', async () => {
    const ports = { 3000: await freePort(), 4000: await freePort() }
    const page = (await readFile(new URL('docs/auth-quick-start.md', ROOT), 'utf8'))
      .replaceAll(
        /(127\.0\.0\.1|localhost):(3000|4000)\b/g,
        (_, host, port) => `${host}:${ports[port as '3000']}`,
      )
      .replace('listen(3000,', `listen(${ports[3000]},`)
    const blocks = (language: string) =>
      [...page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))].map(
        (block) => block[1] as string,
      )
    const [tokens = '', routes = ''] = blocks('js')
    const [makeKey = '', startBackend = '', startNode = '', tryIt = ''] = blocks('sh')
    const shell = async (script: string) => (await run('sh', ['-ec', script], { cwd: folder })).stdout
    const settings = Object.fromEntries(
      [...startNode.matchAll(/(STARCITE_\w+)=(\S+)/g)].map((setting) => [setting[1], setting[2]]),
    ) as Settings
    await symlink(fileURLToPath(new URL('node_modules', ROOT)), path.join(folder, 'node_modules'))
    await writeFile(path.join(folder, 'tokens.mjs'), tokens)
    await writeFile(path.join(folder, 'backend.mjs'), routes)

    await shell(makeKey)
    expect(startBackend).to.equal('node backend.mjs\n')
    backend = spawn(process.execPath, ['backend.mjs'], { cwd: folder, stdio: 'inherit' })
    await until('the backend publishes its key', () =>
      fetch(settings.STARCITE_AUTH_JWKS_URL as string).then(
        (answer) => answer.ok,
        () => false,
      ),
    )
    expect(startNode).to.match(/ npm start\n$/)
    node = await spawnNode(database, { ...settings, PORT: String(ports[4000]) })
    const output = await shell(tryIt)
    const refused = await fetch(`http://127.0.0.1:${ports[4000]}/v1/sessions/ses_auth/events`)

    const answers = output
      .replaceAll('}{', '}\n{')
      .trim()
      .split('\n')
      .map((text) => JSON.parse(text))
    expect(answers).to.have.length(3)
    expect(answers[0]).to.include({ id: 'ses_auth', tenant_id: 'acme' })
    expect(answers[1]).to.include({ seq: 1, deduped: false })
    expect(answers[2].events[0]).to.include({ seq: 1, type: 'content', actor: 'user:ann' })
    expect(refused.status).to.equal(401)
  })
})
