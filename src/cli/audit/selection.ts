import type { Command } from 'commander'
import type { Selection } from '../../audit/read/selection.ts'
import { wireTime } from '../../audit/read/time.ts'
import { UsageError } from '../exit.ts'
import { gather } from '../optionValues.ts'
import { type TenantOptions, tenantOf, withTenant } from '../tenant.ts'

export interface SelectionOptions extends TenantOptions {
  readonly session?: string
  readonly from?: string
  readonly to?: string
  readonly type?: readonly string[]
  readonly actor?: readonly string[]
}

function time(option: string): (text: string) => string {
  return (text) => {
    const at = wireTime(text)
    if (at === undefined)
      throw new UsageError(
        `${option} must be a time such as 2026-11-24 or 2026-11-24T08:30:00Z; it is ${JSON.stringify(text)}`,
      )
    return at
  }
}

/** Adds the options that select events. */
export function withSelection(command: Command): Command {
  return withTenant(command)
    .option('--session <id>', 'only events of this session')
    .option(
      '--from <time>',
      'only events appended at this time or later: a day or RFC 3339, in UTC unless it has an offset',
      time('--from'),
    )
    .option('--to <time>', 'only events appended before this time', time('--to'))
    .option('--type <type>', 'only events of this type; may be repeated', gather)
    .option('--actor <actor>', 'only events of this actor; may be repeated', gather)
}

export function selectionOf({ session, from, to, type, actor, ...tenant }: SelectionOptions): Selection {
  if (session !== undefined && tenant.all) throw new UsageError('--all and --session exclude each other')
  if (from !== undefined && to !== undefined && from >= to)
    throw new UsageError(`--from must be before --to; they are ${from} and ${to}`)
  return {
    ...tenantOf(tenant),
    ...(session !== undefined && { session }),
    ...(from !== undefined && { from }),
    ...(to !== undefined && { to }),
    types: new Set(type),
    actors: new Set(actor),
  }
}
