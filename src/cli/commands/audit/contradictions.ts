import { Command } from 'commander'
import { EXIT, type SetExitCode, UsageError } from '../../exit.ts'

/** It is signed for good, so it is a sentence or a case number. */
const MAX_REASON_CHARACTERS = 500

export function contradictionsCommand(): Command {
  return new Command('contradictions')
    .description('List sessions whose log is not what a checkpoint signed, and which are signed no more.')
    .option('--json', 'one JSON object a line')
    .action(async (options: { json?: true }) => {
      const { showContradictions } = await import('../../audit/contradictions.ts')
      await showContradictions(options)
    })
}

interface AcknowledgeOptions {
  readonly session?: string
  readonly tenant: string
  readonly all?: true
  readonly reason: string
}

export function acknowledgeCommand(setExitCode: SetExitCode): Command {
  return new Command('acknowledge')
    .description('Say of contradictions that what happened is known: after a restore from a backup.')
    .option('--session <id>', 'of this session')
    .option('--tenant <id>', 'whose session it is', 'default')
    .option('--all', 'of every session that has one')
    .requiredOption('--reason <text>', 'what happened; it is signed, and shown with every proof')
    .addHelpText(
      'after',
      `
The next checkpoint signs each of these sessions as it is now, and in the same leaf that it does not continue what was signed
before. Whoever verifies sees it. Look at \`starcite audit checkpoints contradictions\` first: what you cannot explain is not to
be acknowledged. It takes a member of the tables' owner (STARCITE_TIERING_URL). Exit code 1 when there was nothing.

  starcite audit checkpoints acknowledge --all --reason "restored from the backup of 2026-11-29, case 4711"`,
    )
    .action(async ({ session, tenant, all, reason }: AcknowledgeOptions) => {
      if ((session === undefined) === (all === undefined))
        throw new UsageError('say which: --session ID, or --all')
      if (reason.trim() === '' || reason.length > MAX_REASON_CHARACTERS || !reason.isWellFormed())
        throw new UsageError(`--reason must have 1 to ${MAX_REASON_CHARACTERS} characters`)
      const { acknowledge } = await import('../../audit/contradictions.ts')
      const which = session === undefined ? undefined : { tenantId: tenant, sessionId: session }
      setExitCode((await acknowledge(which, reason)) ? EXIT.ok : EXIT.failed)
    })
}
