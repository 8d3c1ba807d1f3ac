/**
 * A node's tiering job alone, in a process of its own: one pass, which is ended by SIGKILL at the n-th probe, whose step
 * it says before; or else says how many events it moved and how many bytes of memory it had at most.
 * Arguments: the database's URL, and n (0: never).
 */

import { PostgresStore } from '../../src/objects/postgresStore.ts'
import { createLog } from '../../src/ops/log.ts'
import { Metrics } from '../../src/ops/metrics.ts'
import { TieringJob } from '../../src/tiering/tieringJob.ts'
import { killAtProbe } from './killAtProbe.ts'
import { poolOf } from './tiering.ts'

const [url = '', nth = ''] = process.argv.slice(2)
const db = poolOf(url)
const job = new TieringJob({
  url,
  connectTimeoutMs: 5000,
  store: new PostgresStore(db),
  intervalMs: 1000,
  retentionGraceMs: 0,
  log: createLog('silent'),
  metrics: new Metrics(),
  probe: killAtProbe(Number(nth)),
})
const result = await job.pass()
await db.stop()
if (!result.ran) throw new Error('another job has the lock')
const events = result.moved.reduce((sum, segment) => sum + segment.events, 0)
const peakBytes = process.resourceUsage().maxRSS * 1024
process.stdout.write(JSON.stringify({ events, peakBytes }))
