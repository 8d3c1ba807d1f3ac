import { Command } from 'commander'
import { UsageError } from '../exit.ts'

interface Whose {
  readonly tenant?: string
  readonly default?: true
}

interface SetOptions extends Whose {
  readonly contentAfter?: string
  readonly sessionAfter?: string
}

const NEVER = 'never'
const UNITS: Readonly<Record<string, string>> = { h: 'hours', d: 'days', y: 'years' }

/** As Postgres reads an interval. */
function age(option: string): (text: string) => string {
  return (text) => {
    const { amount, unit = '' } = /^(?<amount>[1-9]\d{0,5})(?<unit>[hdy])$/.exec(text)?.groups ?? {}
    if (amount !== undefined) return `${amount} ${UNITS[unit]}`
    if (text === NEVER) return text
    throw new UsageError(
      `${option} must be a time such as 12h, 90d or 2y, or ${NEVER}; it is ${JSON.stringify(text)}`,
    )
  }
}

/** Null: every tenant without a rule of its own. */
function tenantOf({ tenant, default: isDefault }: Whose): string | null {
  if ((tenant === undefined) === (isDefault === undefined))
    throw new UsageError('say whose: --tenant ID, or --default for every tenant without a rule of its own')
  return tenant ?? null
}

const ageOf = (given: string | undefined) => (given === undefined || given === NEVER ? null : given)

/** What is erased by age. */
export function retentionCommand(): Command {
  const list = new Command('list')
    .description('List the rules.')
    .option('--json', 'one JSON object a line')
    .action(async ({ json }: { json?: true }) => {
      const { showRules } = await import('../retention.ts')
      await showRules(json === true)
    })
  const set = withWhose(new Command('set'))
    .description(
      'Set a rule. It takes the place of the one before as a whole: what is not given is never erased.',
    )
    .option('--content-after <age>', 'the content of events, in cold storage', age('--content-after'))
    .option('--session-after <age>', 'sessions to which nothing happened for so long', age('--session-after'))
    .action(async ({ contentAfter, sessionAfter, ...whose }: SetOptions) => {
      const tenant = tenantOf(whose)
      if ((contentAfter ?? sessionAfter) === undefined)
        throw new UsageError(`say what: --content-after or --session-after; ${NEVER} keeps everything`)
      const { changeRule } = await import('../retention.ts')
      await changeRule({ tenant, content_after: ageOf(contentAfter), session_after: ageOf(sessionAfter) })
    })
  const remove = withWhose(new Command('remove'))
    .description('Take a rule away. A tenant has the default again.')
    .action(async (whose: Whose) => {
      const tenant = tenantOf(whose)
      const { dropRule } = await import('../retention.ts')
      await dropRule(tenant)
    })
  const due = new Command('due')
    .description('List what the rules would erase now, and erase nothing.')
    .option('--json', 'one JSON object a line')
    .action(async ({ json }: { json?: true }) => {
      const { showDue } = await import('../retention.ts')
      await showDue(json === true)
    })
  const requests = new Command('requests')
    .description(
      'List what was requested by the rules and will be erased once STARCITE_RETENTION_GRACE is over.',
    )
    .option('--json', 'one JSON object a line')
    .action(async ({ json }: { json?: true }) => {
      const { showRequests } = await import('../retention.ts')
      await showRequests(json === true)
    })
  const trustClock = new Command('trust-clock')
    .description("Trust the database's clock as it is now, after a node found that it runs ahead.")
    .action(async () => {
      const { trustClockNow } = await import('../retention.ts')
      await trustClockNow()
    })
  return new Command('retention')
    .description('What is erased by age: list, set, remove, due, requests, trust-clock (docs/erasure.md).')
    .addCommand(list, { isDefault: true })
    .addCommand(set)
    .addCommand(remove)
    .addCommand(due)
    .addCommand(requests)
    .addCommand(trustClock)
    .addHelpText(
      'after',
      `
With the environment of a node, as a member of starcite_owner (STARCITE_TIERING_URL). Nodes carry the rules out.

  starcite retention set --default --content-after 365d
  starcite retention set --tenant acme --content-after 90d --session-after 2y
  starcite retention due`,
    )
}

function withWhose(command: Command): Command {
  return command
    .option('--tenant <id>', 'of this tenant')
    .option('--default', 'of every tenant that has no rule of its own')
}
