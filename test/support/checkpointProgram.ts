/**
 * A node's checkpoint job alone, in a process of its own: one pass, which is ended by SIGKILL at the n-th probe, whose
 * step it says before. Arguments: the database's URL, the private key as PEM, and n.
 */

import { CheckpointJob } from '../../src/audit/checkpoints/checkpointJob.ts'
import { localSigner } from '../../src/audit/checkpoints/signer.ts'
import { PostgresStore } from '../../src/objects/postgresStore.ts'
import { createLog } from '../../src/ops/log.ts'
import { Metrics } from '../../src/ops/metrics.ts'
import { killAtProbe } from './killAtProbe.ts'
import { poolOf } from './tiering.ts'

const [url = '', privatePem = '', nth = ''] = process.argv.slice(2)
const db = poolOf(url)
const job = new CheckpointJob({
  url,
  connectTimeoutMs: 5000,
  store: new PostgresStore(db),
  signer: localSigner(privatePem),
  intervalMs: 1000,
  log: createLog('silent'),
  metrics: new Metrics(),
  probe: killAtProbe(Number(nth)),
})
const { ran } = await job.pass()
await db.stop()
if (!ran) throw new Error('another job has the lock')
