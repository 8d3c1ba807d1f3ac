import { Command } from 'commander'
import { listRules, type Rule, removeRule, setRule } from '../../../sessions/retentionQueries.ts'
import { UsageError } from '../../exit.ts'
import { asOwner } from '../../owner.ts'
import { escapeControlCharacters, out, printJsonLines, printTable } from '../../terminal.ts'

interface TenantOptions {
  readonly tenant?: string
  readonly default?: true
}

interface SetOptions extends TenantOptions {
  readonly contentAfter?: string
  readonly sessionAfter?: string
}

const NEVER = 'never'
const UNITS: Readonly<Record<string, string>> = { h: 'hours', d: 'days', y: 'years' }

export function listCommand(): Command {
  return new Command('list')
    .description('List the rules.')
    .option('--json', 'print one JSON object per line')
    .action(async ({ json }: { json?: true }) => {
      const rules = await asOwner(listRules)
      if (json) return printJsonLines(rules)
      if (rules.length === 0) return void out('There is no rule: nothing is erased by age.\n')
      printTable([
        ['TENANT', 'CONTENT AFTER', 'SESSIONS AFTER'],
        ...rules.map((rule) => [
          rule.tenant ?? '(every other)',
          rule.content_after ?? NEVER,
          rule.session_after ?? NEVER,
        ]),
      ])
    })
}

export function setCommand(): Command {
  return withTenant(new Command('set'))
    .description(
      'Set a rule. It replaces the earlier rule as a whole: an option that is left out means never.',
    )
    .option(
      '--content-after <age>',
      'erase the content of events in cold storage at this age',
      age('--content-after'),
    )
    .option('--session-after <age>', 'erase sessions idle for this long', age('--session-after'))
    .action(async ({ contentAfter, sessionAfter, ...options }: SetOptions) => {
      const tenant = tenantOf(options)
      if ((contentAfter ?? sessionAfter) === undefined)
        throw new UsageError(`set --content-after or --session-after; ${NEVER} keeps everything`)
      await changeRule({ tenant, content_after: ageOf(contentAfter), session_after: ageOf(sessionAfter) })
    })
}

export function removeCommand(): Command {
  return withTenant(new Command('remove'))
    .description('Remove a rule. The default rule then applies to the tenant again.')
    .action(async (options: TenantOptions) => {
      const tenant = tenantOf(options)
      if (!(await asOwner((db) => removeRule(db, tenant))))
        throw new Error(`${nameOf(tenant)}: there is no rule`)
      out(`${nameOf(tenant)}: the rule is removed.\n`)
    })
}

async function changeRule(rule: Rule): Promise<void> {
  await asOwner((db) => setRule(db, rule))
  const content = rule.content_after === null ? 'is never erased' : `is erased after ${rule.content_after}`
  const sessions =
    rule.session_after === null ? 'are never erased' : `are erased when idle for ${rule.session_after}`
  out(`${nameOf(rule.tenant)}: content ${content}, sessions ${sessions}.\n`)
}

function withTenant(command: Command): Command {
  return command
    .option('--tenant <id>', 'the rule of this tenant')
    .option('--default', 'the rule of every tenant that has none of its own')
}

/** Null: every tenant without a rule of its own. */
function tenantOf({ tenant, default: isDefault }: TenantOptions): string | null {
  if ((tenant === undefined) === (isDefault === undefined))
    throw new UsageError('set either --tenant ID, or --default for every tenant without a rule of its own')
  return tenant ?? null
}

const nameOf = (tenant: string | null) =>
  tenant === null ? 'Every tenant without a rule of its own' : `Tenant ${escapeControlCharacters(tenant)}`

/** Parses an age into an interval of Postgres. */
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

const ageOf = (given: string | undefined) => (given === undefined || given === NEVER ? null : given)
