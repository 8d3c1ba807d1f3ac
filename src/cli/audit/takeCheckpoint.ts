import { CheckpointJob } from '../../audit/checkpoints/checkpointJob.ts'
import { openSigner } from '../../audit/checkpoints/openSigner.ts'
import { loadConfig } from '../../config.ts'
import { StopStack } from '../../lib/stopStack.ts'
import { openObjectStore } from '../../objects/open.ts'
import { createLog } from '../../ops/log.ts'
import { Metrics } from '../../ops/metrics.ts'
import { openExisting } from '../database.ts'
import { UsageError } from '../exit.ts'
import { amount, out } from '../terminal.ts'
import { explained } from './sources.ts'

/** Takes a checkpoint, however old the last one is. Whether it did. */
export async function takeNow(): Promise<boolean> {
  const config = loadConfig(process.env)
  const signer = await openSigner(config.checkpoints)
  if (signer === undefined)
    throw new UsageError('STARCITE_CHECKPOINT_KEY or STARCITE_CHECKPOINT_KEY_FILE must be set')
  const log = createLog('warn')
  const stack = new StopStack()
  try {
    const database = stack.add('database', await openExisting(config.database, log))
    const job = stack.add(
      'checkpoints',
      new CheckpointJob({
        url: database.tieringUrl,
        connectTimeoutMs: config.database.timeoutMs,
        store: stack.add('object store', await openObjectStore(config.archive, database.moves)),
        signer,
        intervalMs: config.checkpoints.intervalMs,
        log,
        metrics: new Metrics(),
      }),
    )
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void job.stop())
    const result = await job.pass()
    if (!result.ran) out(`${WHY_NOT[result.why]}\n`)
    else
      for (const { number, leaves, time } of result.taken)
        out(`Checkpoint ${number}, of ${time}: ${amount(leaves)} sessions had moved.\n`)
    return result.ran
  } catch (error) {
    throw explained(error)
  } finally {
    await stack.stop()
  }
}

const WHY_NOT = {
  held: 'A node is taking a checkpoint now.',
  not_allowed: 'This database user may not take checkpoints: that takes a member of starcite_tiering.',
  not_due: 'The last checkpoint is not old enough.',
}
