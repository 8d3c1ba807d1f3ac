/**
 * `npm test [-- PATH...] [--grep TEXT] [--workers N] [--durations] [--nightly]`: every test file, or those of the paths, against
 * one throw-away Postgres. A queue of files, longest first, is run by a few workers side by side. What failed, and what could not
 * be tested here, is printed again at the end.
 */
import { execFileSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { buildTests } from './suite/build.ts'
import { readDurations, writeDurations } from './suite/durations.ts'
import { findTests } from './suite/files.ts'
import { runQueue } from './suite/queue.ts'
import { report } from './suite/report.ts'
import { originalClusters } from './support/cluster.ts'
import { stopTestServer, testServer } from './support/postgres.ts'
import { stopTestS3 } from './support/s3.ts'

const WORKER = 'test/suite/worker.ts'
/** Many tests wait for a server, a time-out or a program most of the time. */
const WORKERS_PER_CORE = 2

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    grep: { type: 'string' },
    workers: { type: 'string' },
    durations: { type: 'boolean', default: false },
    nightly: { type: 'boolean', default: false },
  },
})

const started = performance.now()
const durations = readDurations()
const files = findTests(positionals, values.nightly).sort(
  (a, b) => (durations[b] ?? Number.POSITIVE_INFINITY) - (durations[a] ?? Number.POSITIVE_INFINITY),
)
execFileSync('npm', ['run', '--silent', 'build'], { stdio: 'inherit', shell: process.platform === 'win32' })
const built = await buildTests(files, WORKER)
try {
  const { url } = await testServer()
  const runs = await runQueue(files, {
    workers: Math.min(Number(values.workers ?? availableParallelism() * WORKERS_PER_CORE), files.length),
    worker: built.moduleOf(WORKER),
    moduleOf: built.moduleOf,
    env: {
      STARCITE_TEST_DATABASE_URL: url,
      STARCITE_TEST_BUILT: '1',
      ...(await originalClusters()),
      STARCITE_TEST_PROGRAMS: built.programs,
      ...(values.grep && { STARCITE_TEST_GREP: values.grep }),
      ...(values.nightly && { STARCITE_TEST_NIGHTLY: '1' }),
    },
  })
  const ok = report(runs, performance.now() - started)
  if (values.durations) writeDurations(runs)
  process.exitCode = ok ? 0 : 1
} finally {
  await Promise.allSettled([stopTestS3(), stopTestServer(), built.remove()])
}
