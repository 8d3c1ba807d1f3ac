/**
 * A node's tiering job alone, for tests that kill it: one pass, which ends by SIGKILL at the n-th probe.
 * Arguments: the database's URL, and n.
 */

import { PostgresStore } from '../../src/objects/postgresStore.ts'
import { createLog } from '../../src/ops/log.ts'
import { Metrics } from '../../src/ops/metrics.ts'
import { TieringJob } from '../../src/tiering/tieringJob.ts'
import { poolOf } from './tiering.ts'

const [url = '', nth = ''] = process.argv.slice(2)
const db = poolOf(url)
let probes = 0
const job = new TieringJob({
  url,
  connectTimeoutMs: 5000,
  store: new PostgresStore(db),
  intervalMs: 1000,
  log: createLog('silent'),
  metrics: new Metrics(),
  probe: (step) => {
    probes += 1
    if (probes !== Number(nth)) return
    process.stdout.write(step)
    process.kill(process.pid, 'SIGKILL')
  },
})
const result = await job.pass()
await db.stop()
process.exitCode = result.ran ? 0 : 3
