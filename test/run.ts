/**
 * `npm test`: every level against one throw-away Postgres. Tests that must simply live long, and some that leave the
 * processors to others, run beside the rest, and print when they are done.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { stopTestServer, testServer } from './support/postgres.ts'

const LEVELS = ['test/unit', 'test/sql', 'test/integration', 'test/http', 'test/e2e']
const BESIDE = [
  ['test/e2e/endurance.test.ts', 'test/e2e/chaos.test.ts'],
  ['test/contract', 'test/integration/embeddedPostgres.test.ts'],
]
const MOCHA = createRequire(import.meta.url).resolve('mocha/bin/mocha.js')

const running = new Set<ChildProcess>()

/** Runs mocha; its output comes as it is made, or, `quiet`, in one piece at the end. */
async function mocha(args: readonly string[], serverUrl: string, quiet: boolean): Promise<boolean> {
  const child = spawn(process.execPath, [MOCHA, ...args], {
    env: { ...process.env, STARCITE_TEST_DATABASE_URL: serverUrl },
    stdio: ['ignore', quiet ? 'pipe' : 'inherit', quiet ? 'pipe' : 'inherit'],
  })
  running.add(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => {
      output += chunk
    })
  const [code] = await once(child, 'close')
  running.delete(child)
  process.stdout.write(output)
  return code === 0
}

for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => {
    for (const child of running) child.kill(signal)
  })

const { url } = await testServer()
const passed = await Promise.all([
  mocha([...LEVELS, ...BESIDE.flat().flatMap((path) => ['--exclude', path])], url, false),
  ...BESIDE.map((paths) => mocha(paths, url, true)),
])
await stopTestServer()
process.exitCode = passed.every(Boolean) ? 0 : 1
