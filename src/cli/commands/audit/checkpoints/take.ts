import { Command } from 'commander'
import { loadConfig } from '../../../../config.ts'
import { EXIT, setExitCode, UsageError } from '../../../exit.ts'
import { amount, out } from '../../../terminal.ts'
import { withDatabase } from '../../../withDatabase.ts'

export function takeCommand(): Command {
  return new Command('take')
    .description('Take a checkpoint now, as a node does at its interval.')
    .addHelpText(
      'after',
      `
Uses the environment of a node. It needs the key (STARCITE_CHECKPOINT_KEY or STARCITE_CHECKPOINT_KEY_FILE) and a role that
owns the tables. Exit code 1 when no checkpoint was taken because a node is taking one now.`,
    )
    .action(takeCheckpoint)
}

/** Takes a checkpoint, however old the last one is. */
async function takeCheckpoint(): Promise<void> {
  const [{ openObjectStore }, { Metrics }, { CheckpointJob }, { openSigner }, { explainSchemaError }] =
    await Promise.all([
      import('../../../../objects/open.ts'),
      import('../../../../ops/metrics.ts'),
      import('../../../../audit/checkpoints/checkpointJob.ts'),
      import('../../../../audit/checkpoints/openSigner.ts'),
      import('../../../sources.ts'),
    ])
  const signer = await openSigner(loadConfig(process.env).checkpoints)
  if (signer === undefined)
    throw new UsageError('STARCITE_CHECKPOINT_KEY or STARCITE_CHECKPOINT_KEY_FILE must be set')
  const pass = withDatabase('warn', async ({ config, log, database, stack }) => {
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
    return job.pass()
  })
  const result = await pass.catch((error) => {
    throw explainSchemaError(error)
  })
  if (!result.ran) {
    out(`${WHY_NOT[result.why]}\n`)
    setExitCode(EXIT.failed)
    return
  }
  for (const { number, leaves, time } of result.taken)
    out(`Checkpoint ${number}, of ${time}: ${amount(leaves)} sessions had moved.\n`)
}

const WHY_NOT = {
  held: 'A node is taking a checkpoint now.',
  not_allowed: 'This database user may not take checkpoints: that needs a member of starcite_tiering.',
  not_due: 'The last checkpoint is not old enough.',
}
