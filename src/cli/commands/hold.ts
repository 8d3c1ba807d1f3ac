import { Command } from 'commander'
import { type HoldRequest, holdSession, listHolds, releaseSession } from '../../sessions/holdQueries.ts'
import { asOwner } from '../owner.ts'
import { DEFAULT_TENANT } from '../tenant.ts'
import { escapeControlCharacters, out, printJsonLines, printTable, wholeSeconds } from '../terminal.ts'

interface Options {
  readonly tenant: string
  readonly by?: string
}

/** Legal holds, which keep sessions from erasure and retention. */
export function holdCommand(): Command {
  const list = new Command('list')
    .description('List legal holds, the oldest first.')
    .option('--tenant <id>', 'only holds of this tenant')
    .option('--json', 'print one JSON object per line')
    .action(printHolds)
  const add = withSession(new Command('add'))
    .description('Put a session under a legal hold: none of it is erased until the hold is released.')
    .requiredOption('--reason <text>', 'the reason, which is stored with the hold')
    .action((session: string, { reason, ...options }: Options & { reason: string }) =>
      addHold(requestOf(session, options), reason),
    )
  const release = withSession(new Command('release'))
    .description('End a legal hold. Retention then erases the session once it is due.')
    .action((session: string, options: Options) => releaseHold(requestOf(session, options)))
  return new Command('hold')
    .description('Legal holds: list, add, release (docs/erasure.md).')
    .addCommand(list, { isDefault: true })
    .addCommand(add)
    .addCommand(release)
    .addHelpText(
      'after',
      `
Uses the environment of a node, and needs a login that is a member of starcite_owner (STARCITE_TIERING_URL).

  starcite hold add ses_demo --reason 'case 12/2026' --by counsel@example.com
  starcite hold release ses_demo`,
    )
}

function withSession(command: Command): Command {
  return command
    .argument('<session>', 'session id')
    .option('--tenant <id>', 'tenant of the session', DEFAULT_TENANT)
    .option('--by <subject>', 'who decided (default: the login of this connection to Postgres)')
}

const requestOf = (sessionId: string, { tenant, by }: Options): HoldRequest => ({
  tenantId: tenant,
  sessionId,
  subject: by ?? null,
})

async function printHolds({ tenant, json }: { tenant?: string; json?: true }): Promise<void> {
  const holds = await asOwner((db) => listHolds(db, tenant))
  if (json) return printJsonLines(holds)
  if (holds.length === 0) return void out('No session is under a legal hold.\n')
  printTable([
    ['TENANT', 'SESSION', 'SINCE', 'BY', 'REASON'],
    ...holds.map((hold) => [
      hold.tenant,
      hold.session,
      wholeSeconds(hold.held_at),
      hold.subject,
      hold.reason,
    ]),
  ])
}

async function addHold(request: HoldRequest, reason: string): Promise<void> {
  const outcome = await asOwner((db) => holdSession(db, request, reason))
  if (outcome !== 'held') throw new Error(`${outcome}: ${nameOf(request)} cannot be held`)
  out(`${nameOf(request)} is under a legal hold.\n`)
}

async function releaseHold(request: HoldRequest): Promise<void> {
  const outcome = await asOwner((db) => releaseSession(db, request))
  if (outcome !== 'released') throw new Error(`${outcome}: ${nameOf(request)} is under no legal hold`)
  out(`${nameOf(request)} is no longer under a legal hold.\n`)
}

const nameOf = ({ tenantId, sessionId }: HoldRequest) =>
  `session ${escapeControlCharacters(sessionId)} of tenant ${escapeControlCharacters(tenantId)}`
