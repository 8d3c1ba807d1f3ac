import { Command } from 'commander'
import { DEFAULT_TENANT } from '../audit/tenant.ts'

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
    .option('--tenant <id>', 'of this tenant only')
    .option('--all', 'also those that were mended or given up')
    .option('--json', 'one JSON object a line')
    .action(async ({ tenant, all, json }: ListOptions) => {
      const { showSetAside } = await import('../setAside.ts')
      await showSetAside(tenant, all === true, json === true)
    })
  const giveUp = new Command('give-up')
    .description('Have a damaged session moved as it is. It is recorded, and mends nothing.')
    .argument('<session>', 'its id')
    .option('--tenant <id>', 'whose session', DEFAULT_TENANT)
    .requiredOption('--reason <text>', 'why; it is kept')
    .option('--by <subject>', 'who decided; without it, the login at Postgres')
    .action(async (sessionId: string, { tenant, reason, by }: GiveUpOptions) => {
      const { giveUp } = await import('../setAside.ts')
      await giveUp({ tenantId: tenant, sessionId, reason, subject: by ?? null })
    })
  return new Command('set-aside')
    .description('Damaged sessions that tiering has set aside: list them, give one up (docs/operations.md).')
    .addCommand(list, { isDefault: true })
    .addCommand(giveUp)
    .addHelpText(
      'after',
      `
With the environment of a node, as a member of starcite_owner (STARCITE_TIERING_URL). A session that is mended needs no
command: the tiering job looks at it in every pass.

  starcite set-aside
  starcite set-aside give-up ses_demo --reason 'no backup has event 17' --by ops@example.com`,
    )
}
