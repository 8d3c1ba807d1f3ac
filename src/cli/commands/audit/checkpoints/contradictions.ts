import { Command } from 'commander'
import {
  acknowledgeContradictions,
  type ListedContradiction,
  listContradictions,
} from '../../../../audit/checkpoints/acknowledgementQueries.ts'
import { EXIT, setExitCode, UsageError } from '../../../exit.ts'
import { asOwner } from '../../../owner.ts'
import { DEFAULT_TENANT } from '../../../tenant.ts'
import { amount, out, printJsonLines, printTable } from '../../../terminal.ts'

/** Checkpoints keep the reason permanently, so it is a sentence or a case number. */
const MAX_REASON_CHARACTERS = 500

export function contradictionsCommand(): Command {
  return new Command('contradictions')
    .description('List sessions whose log contradicts what a checkpoint signed. They are no longer signed.')
    .option('--json', 'print one JSON object per line')
    .action(async ({ json }: { json?: true }) => {
      const { withSources } = await import('../../../sources.ts')
      const found = await withSources(({ db }) => listContradictions(db))
      if (json) printJsonLines(found)
      else if (found.length === 0) out('No log contradicts a checkpoint.\n')
      else print(found)
    })
}

interface AcknowledgeOptions {
  readonly session?: string
  readonly tenant: string
  readonly all?: true
  readonly reason: string
}

export function acknowledgeCommand(): Command {
  return new Command('acknowledge')
    .description('Record that the cause of contradictions is known, for example a restore from a backup.')
    .option('--session <id>', 'the contradiction of this session')
    .option('--tenant <id>', 'tenant of the session', DEFAULT_TENANT)
    .option('--all', 'the contradictions of every session')
    .requiredOption('--reason <text>', 'what happened; it is signed, and shown with every proof')
    .addHelpText(
      'after',
      `
The next checkpoint signs each of these sessions as it is now, and states in the same leaf that the session does not continue
what was signed before. Every verifier sees that. Look at \`starcite audit checkpoints contradictions\` first, and acknowledge
only what you can explain. Needs a login that is a member of starcite_owner (STARCITE_TIERING_URL). Exit code 1 when there
is nothing to acknowledge.

  starcite audit checkpoints acknowledge --all --reason "restored from the backup of 2026-11-29, case 4711"`,
    )
    .action(acknowledge)
}

async function acknowledge({ session, tenant, all, reason }: AcknowledgeOptions): Promise<void> {
  if ((session === undefined) === (all === undefined))
    throw new UsageError('set either --session ID or --all')
  if (reason.trim() === '' || reason.length > MAX_REASON_CHARACTERS || !reason.isWellFormed())
    throw new UsageError(`--reason must have 1 to ${MAX_REASON_CHARACTERS} characters`)
  const which = session === undefined ? undefined : { tenantId: tenant, sessionId: session }
  const acknowledged = await asOwner((db) => acknowledgeContradictions(db, which, reason))
  if (acknowledged.length === 0) {
    out('There is no contradiction to acknowledge.\n')
    setExitCode(EXIT.failed)
    return
  }
  print(acknowledged)
  out(
    `${amount(acknowledged.length)} acknowledged. The next checkpoint signs each as a discontinuity, with the reason.\n`,
  )
}

function print(found: readonly ListedContradiction[]): void {
  printTable([
    ['TENANT', 'SESSION', 'CHECKPOINT', 'SIGNED', 'FOUND', 'REASON', 'SINCE', 'ACKNOWLEDGED'],
    ...found.map((contradiction) => [
      contradiction.tenant ?? '?',
      contradiction.session ?? '?',
      String(contradiction.number),
      String(contradiction.signed_seq),
      contradiction.found_seq === null ? '-' : String(contradiction.found_seq),
      contradiction.reason,
      contradiction.found_at.slice(0, 19),
      contradiction.acknowledged ? 'yes' : 'no',
    ]),
  ])
}
