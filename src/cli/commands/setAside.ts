import { Command } from 'commander'
import { type GiveUpRequest, giveUpSession, listSetAside } from '../../tiering/setAside/operatorQueries.ts'
import { asOwner } from '../owner.ts'
import { DEFAULT_TENANT } from '../tenant.ts'
import { escapeControlCharacters, out, printJsonLines, printTable, wholeSeconds } from '../terminal.ts'

interface ListOptions {
  readonly tenant?: string
  readonly all?: true
  readonly json?: true
}

interface GiveUpOptions {
  readonly tenant: string
  readonly reason: string
  readonly by?: string
}

/** Sessions that tiering leaves in Postgres because their log is damaged. */
export function setAsideCommand(): Command {
  const list = new Command('list')
    .description('List sessions that are not moved because their log is damaged, the oldest first.')
    .option('--tenant <id>', 'only sessions of this tenant')
    .option('--all', 'also sessions that were repaired or given up')
    .option('--json', 'print one JSON object per line')
    .action(printSetAside)
  const giveUp = new Command('give-up')
    .description('Have a damaged session moved as it is. The decision is recorded; the damage stays.')
    .argument('<session>', 'session id')
    .option('--tenant <id>', 'tenant of the session', DEFAULT_TENANT)
    .requiredOption('--reason <text>', 'the reason, which is stored')
    .option('--by <subject>', 'who decided (default: the login of this connection to Postgres)')
    .action((sessionId: string, { tenant, reason, by }: GiveUpOptions) =>
      giveUpOn({ tenantId: tenant, sessionId, reason, subject: by ?? null }),
    )
  return new Command('set-aside')
    .description('Damaged sessions that tiering has set aside: list, give-up (docs/operations.md).')
    .addCommand(list, { isDefault: true })
    .addCommand(giveUp)
    .addHelpText(
      'after',
      `
Uses the environment of a node, and needs a login that is a member of starcite_owner (STARCITE_TIERING_URL). A repaired
session needs no command: the tiering job checks it in every pass.

  starcite set-aside
  starcite set-aside give-up ses_demo --reason 'no backup has event 17' --by ops@example.com`,
    )
}

async function printSetAside({ tenant, all, json }: ListOptions): Promise<void> {
  const found = await asOwner((db) => listSetAside(db, tenant, all === true))
  if (json) return printJsonLines(found)
  if (found.length === 0) return void out('No session is set aside.\n')
  printTable([
    ['TENANT', 'SESSION', 'SEQ', 'REASON', 'STATE', 'SINCE', 'DETAIL'],
    ...found.map((session) => [
      session.tenant,
      session.session ?? `sid ${session.sid}`,
      String(session.seq),
      session.reason,
      session.state,
      wholeSeconds(session.since),
      session.detail,
    ]),
  ])
}

const REFUSALS = {
  session_not_found: 'there is no such session',
  not_set_aside: 'the session is not set aside',
  cannot_be_given_up: 'an event is stored twice; delete the surplus row (docs/operations.md)',
} as const

async function giveUpOn(request: GiveUpRequest): Promise<void> {
  const outcome = await asOwner((db) => giveUpSession(db, request))
  const name = `session ${escapeControlCharacters(request.sessionId)} of tenant ${escapeControlCharacters(request.tenantId)}`
  if (outcome !== 'given_up') throw new Error(`${outcome}: ${name}: ${REFUSALS[outcome]}`)
  out(`The next pass of the tiering job moves ${name} as it is. Verification still reports the damage.\n`)
}
