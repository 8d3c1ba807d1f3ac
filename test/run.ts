/**
 * `npm test`: every level against one throw-away Postgres, in lanes side by side. The first prints as it goes; the
 * others, of tests that mostly wait or have servers of their own, print when they are done. What failed, and what could
 * not be tested here, is said again at the end.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { stopTestServer, testServer } from './support/postgres.ts'

/** Of about the same length. Who is named in one lane is left out of the levels of the others. */
const LANES = [
  ['test/unit', 'test/sql', 'test/http'],
  ['test/integration'],
  ['test/e2e'],
  [
    'test/e2e/endurance.test.ts', // which waits, mostly
    'test/e2e/chaos.test.ts',
    'test/integration/tieringFaults.test.ts',
  ],
  [
    'test/contract',
    'test/integration/embeddedPostgres.test.ts',
    'test/e2e/commandLine.test.ts',
    'test/integration/checkpoints.test.ts',
    'test/integration/checkpointsVerify.test.ts',
    'test/integration/checkpointsKilled.test.ts',
    'test/integration/erasureBucket.test.ts', // on the S3 server that test/contract has started
    'test/integration/proofs.test.ts',
    'test/integration/replication.test.ts',
  ],
  [
    'test/e2e/postgresOutages.test.ts',
    'test/e2e/diskFull.test.ts',
    'test/e2e/nodeFaults.test.ts',
    'test/e2e/rollingRestart.test.ts',
    'test/e2e/crowds.test.ts',
    'test/e2e/tieringUnderReaders.test.ts',
  ],
]
/** Several times what a lane takes. A test that leaves something running would keep it for ever. */
const LANE_TIMEOUT_MS = 20 * 60_000
const MOCHA = createRequire(import.meta.url).resolve('mocha/bin/mocha.js')

interface Lane {
  readonly args: readonly string[]
  readonly ok: boolean
  readonly output: string
}

const running = new Set<ChildProcess>()

/** Runs mocha; its output comes as it is made, or, `quiet`, in one piece at the end. */
async function mocha(args: readonly string[], serverUrl: string, quiet: boolean): Promise<Lane> {
  const child = spawn(process.execPath, [MOCHA, ...args], {
    env: { ...process.env, STARCITE_TEST_DATABASE_URL: serverUrl, STARCITE_TEST_BUILT: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.add(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => {
      output += chunk
      if (!quiet) process.stdout.write(chunk)
    })
  const overdue = setTimeout(() => {
    output += `\n  1 failing\n\n  ended after ${LANE_TIMEOUT_MS / 60_000} minutes\n`
    child.kill('SIGKILL')
  }, LANE_TIMEOUT_MS)
  const [code] = await once(child, 'close')
  clearTimeout(overdue)
  running.delete(child)
  if (quiet) process.stdout.write(output)
  return { args, ok: code === 0, output }
}

/** Sums what mocha counts, and repeats what must not be lost among thousands of lines. */
function report(lanes: readonly Lane[]): void {
  const count = (word: string) =>
    lanes.reduce((sum, { output }) => {
      const found = [...output.matchAll(new RegExp(`^ +(\\d+) ${word}`, 'gm'))].at(-1)
      return sum + Number(found?.[1] ?? 0)
    }, 0)
  for (const { args, output } of lanes.filter((lane) => !lane.ok)) {
    const failing = output.search(/^ +\d+ failing/m)
    console.log(
      `\nFAILED: mocha ${args.filter((it, i) => it !== '--exclude' && args[i - 1] !== '--exclude').join(' ')}`,
    )
    console.log(failing === -1 ? output.slice(-3000) : output.slice(failing))
  }
  for (const { output } of lanes)
    for (const [line] of output.matchAll(/^.*NOT TESTED.*$/gm)) console.log(line.trim())
  const unreported = lanes.filter(({ ok, output }) => !ok && !/^ +\d+ failing/m.test(output)).length
  console.log(
    `\n${count('passing')} passed, ${count('failing') + unreported} failed, ${count('pending')} skipped`,
  )
}

for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => {
    for (const child of running) child.kill(signal)
  })

execFileSync('npm', ['run', '--silent', 'build'], { stdio: 'inherit', shell: process.platform === 'win32' })
const { url } = await testServer()
const named = LANES.flat().filter((path) => path.endsWith('.ts'))
const lanes = await Promise.all(
  LANES.map((paths, i) => {
    const others = named.filter((path) => !paths.includes(path))
    return mocha([...paths, ...others.flatMap((path) => ['--exclude', path])], url, i > 0)
  }),
)
await stopTestServer()
report(lanes)
process.exitCode = lanes.every(({ ok }) => ok) ? 0 : 1
