import { Command } from 'commander'
import { DEFAULT_TENANT } from '../audit/tenant.ts'

interface Options {
  readonly tenant: string
  readonly by?: string
}

const requestOf = (sessionId: string, { tenant, by }: Options) => ({
  tenantId: tenant,
  sessionId,
  subject: by ?? null,
})

/** Legal holds: what nobody may erase, nor retention. */
export function holdCommand(): Command {
  const list = new Command('list')
    .description('List what is under a legal hold, the oldest first.')
    .option('--tenant <id>', 'of this tenant only')
    .option('--json', 'one JSON object a line')
    .action(async ({ tenant, json }: { tenant?: string; json?: true }) => {
      const { showHolds } = await import('../holds.ts')
      await showHolds(tenant, json === true)
    })
  const add = withRequest(new Command('add'))
    .description('Put a session under a legal hold: nothing of it is erased until it is released.')
    .requiredOption('--reason <text>', 'why; it is kept')
    .action(async (session: string, { reason, ...options }: Options & { reason: string }) => {
      const { addHold } = await import('../holds.ts')
      await addHold(requestOf(session, options), reason)
    })
  const release = withRequest(new Command('release'))
    .description('End a legal hold. Retention takes up what is due.')
    .action(async (session: string, options: Options) => {
      const { releaseHold } = await import('../holds.ts')
      await releaseHold(requestOf(session, options))
    })
  return new Command('hold')
    .description('Legal holds: list, add, release (docs/erasure.md).')
    .addCommand(list, { isDefault: true })
    .addCommand(add)
    .addCommand(release)
    .addHelpText(
      'after',
      `
With the environment of a node, as a member of starcite_owner (STARCITE_TIERING_URL).

  starcite hold add ses_demo --reason 'case 12/2026' --by counsel@example.com
  starcite hold release ses_demo`,
    )
}

function withRequest(command: Command): Command {
  return command
    .argument('<session>', 'its id')
    .option('--tenant <id>', 'whose session', DEFAULT_TENANT)
    .option('--by <subject>', 'who decided; without it, who is logged in to Postgres')
}
