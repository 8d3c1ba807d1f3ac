import { Command } from 'commander'
import { EXIT, type SetExitCode, UsageError } from '../../exit.ts'
import { integer } from '../../target.ts'
import { acknowledgeCommand, contradictionsCommand } from './contradictions.ts'

export function checkpointsCommand(setExitCode: SetExitCode): Command {
  const list = new Command('list')
    .description('List checkpoints, the newest first.')
    .option('--limit <n>', 'this many at most', integer('--limit', 1), 20)
    .option('--json', 'one JSON object a line')
    .action(async (options: { limit: number; json?: true }) => {
      const { listCheckpoints } = await import('../../audit/checkpoints.ts')
      await listCheckpoints(options)
    })
  return new Command('checkpoints')
    .description('What was signed of the logs: list, verify, take; and what contradicts it.')
    .addCommand(list, { isDefault: true })
    .addCommand(verifyCommand(setExitCode))
    .addCommand(takeCommand(setExitCode))
    .addCommand(contradictionsCommand())
    .addCommand(acknowledgeCommand(setExitCode))
}

interface VerifyOptions {
  readonly publicKey?: string[]
  readonly from?: string
  readonly anchor?: string[]
  readonly since: number
  readonly json?: true
}

function verifyCommand(setExitCode: SetExitCode): Command {
  return new Command('verify')
    .description('Verify the chain of checkpoints, their signatures, and that the logs are what was signed.')
    .option(
      '--public-key <files...>',
      'of whoever may have signed, as PEM; without it signatures are not checked',
    )
    .option('--from <directory>', 'of a copy of the bucket alone, without Postgres')
    .option('--anchor <sha256...>', 'of checkpoints that were published: they must be there')
    .option('--since <number>', 'leave out the leaves of older checkpoints', integer('--since', 1), 1)
    .option('--json', 'one JSON object a finding, one a line, and a last one that sums up')
    .addHelpText(
      'after',
      `
With the environment of a node, which may go on meanwhile. docs/proofs.md says what each finding means. Exit code 1 when
something is wrong, and when there is nothing to verify.

  starcite audit checkpoints verify --public-key checkpoint-public.pem
  aws s3 sync s3://bucket/starcite ./copy && starcite audit checkpoints verify --from ./copy --public-key checkpoint-public.pem`,
    )
    .action(async (options: VerifyOptions) => {
      for (const anchor of options.anchor ?? [])
        if (!/^[0-9a-f]{64}$/.test(anchor))
          throw new UsageError(`--anchor must be 64 hexadecimal digits; it is ${JSON.stringify(anchor)}`)
      const { verifyAll } = await import('../../audit/checkpoints.ts')
      setExitCode((await verifyAll(options)) ? EXIT.ok : EXIT.failed)
    })
}

function takeCommand(setExitCode: SetExitCode): Command {
  return new Command('take')
    .description('Take a checkpoint now, as a node does at its interval.')
    .addHelpText(
      'after',
      `
With the environment of a node, the key (STARCITE_CHECKPOINT_KEY or _KEY_FILE) and a role that owns the tables. Exit code 1
when none was taken, for a node is taking one just now.`,
    )
    .action(async () => {
      const { takeNow } = await import('../../audit/takeCheckpoint.ts')
      setExitCode((await takeNow()) ? EXIT.ok : EXIT.failed)
    })
}
