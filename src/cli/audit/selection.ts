import type { Command } from 'commander'
import type { Selection } from '../../audit/read/selection.ts'
import { wireTime } from '../../audit/read/time.ts'
import { UsageError } from '../exit.ts'
import { type TenantOptions, tenantOf, withTenant } from './tenant.ts'

export interface SelectionOptions extends TenantOptions {
  readonly session?: string
  readonly from?: string
  readonly to?: string
  readonly type?: readonly string[]
  readonly actor?: readonly string[]
}

const gather = (value: string, before: readonly string[] = []) => [...before, value]

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

/** The options that say which events are wanted. */
export function withSelection(command: Command): Command {
  return withTenant(command)
    .option('--session <id>', 'only of this session')
    .option(
      '--from <time>',
      'only those appended then or later; a day or RFC 3339, UTC if it says no zone',
      time('--from'),
    )
    .option('--to <time>', 'only those appended before', time('--to'))
    .option('--type <type>', 'only of this type; may be given several times', gather)
    .option('--actor <actor>', 'only of this actor; may be given several times', gather)
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
