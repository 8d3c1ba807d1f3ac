import { Command } from 'commander'
import type { Session } from '../../client/types.ts'
import { UsageError } from '../exit.ts'
import { integer } from '../optionValues.ts'
import { clientOf, type Target, withTarget } from '../target.ts'
import { amount, out, printTable, wholeSeconds } from '../terminal.ts'

interface Options extends Target {
  readonly limit: number
  readonly cursor?: string
  readonly archived?: true
  readonly all?: true
  readonly metadata: Readonly<Record<string, string>>
  readonly json?: true
}

function filter(text: string, before: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const at = text.indexOf('=')
  if (at < 1) throw new UsageError(`--metadata must be KEY=VALUE; it is ${JSON.stringify(text)}`)
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) }
}

export function sessionsCommand(): Command {
  return withTarget(new Command('sessions'))
    .description('List sessions, by id.')
    .option('--limit <n>', 'list at most this many', integer('--limit', 1), 50)
    .option('--cursor <id>', 'list those after this id')
    .option('--metadata <key=value>', 'list those with this metadata; may be repeated', filter, {})
    .option('--archived', 'list archived sessions only')
    .option('--all', 'list archived sessions too')
    .option('--json', 'print one JSON object per line')
    .addHelpText('after', '\n  starcite sessions --metadata team=legal --json | jq -r .id')
    .action(async ({ limit, cursor, archived, all, metadata, json, ...target }: Options) => {
      const found: Session[] = []
      const client = await clientOf(target)
      const list = client.listSessions({
        metadata,
        archived: all ? 'all' : archived === true,
        pageSize: Math.min(limit, 1000),
        ...(cursor !== undefined && { cursor }),
      })
      for await (const session of list) {
        if (json) out(`${JSON.stringify(session)}\n`)
        else found.push(session)
        limit -= 1
        if (limit === 0) break
      }
      if (json) return
      if (found.length === 0) out('There is no session. `starcite create` creates one.\n')
      else print(found)
    })
}

function print(sessions: readonly Session[]): void {
  printTable([
    ['ID', 'EVENTS', 'CREATED', 'TITLE'],
    ...sessions.map((session) => [
      session.id,
      amount(session.last_seq),
      wholeSeconds(session.created_at),
      (session.title ?? '') + (session.archived ? ' (archived)' : ''),
    ]),
  ])
}
