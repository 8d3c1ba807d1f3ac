import { Command } from 'commander'
import type { Session } from '../../client/types.ts'
import { UsageError } from '../exit.ts'
import { clientOf, integer, type Target, withTarget } from '../target.ts'
import { amount, escapeControlCharacters, out, showTable } from '../terminal.ts'

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
    .option('--limit <n>', 'this many at most', integer('--limit', 1), 50)
    .option('--cursor <id>', 'only those after this one')
    .option('--metadata <key=value>', 'only those with it; may be given several times', filter, {})
    .option('--archived', 'only archived ones')
    .option('--all', 'archived ones too')
    .option('--json', 'one JSON object a line')
    .addHelpText('after', '\n  starcite sessions --metadata team=legal --json | jq -r .id')
    .action(async ({ limit, cursor, archived, all, metadata, json, ...target }: Options) => {
      const found: Session[] = []
      const list = clientOf(target).listSessions({
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
      if (found.length === 0) out('No session. `starcite create` makes one.\n')
      else show(found)
    })
}

function show(sessions: readonly Session[]): void {
  showTable([
    ['ID', 'EVENTS', 'CREATED', 'TITLE'],
    ...sessions.map((it) => [
      escapeControlCharacters(it.id),
      amount(it.last_seq),
      it.created_at.slice(0, 19).replace('T', ' '),
      escapeControlCharacters(it.title ?? '') + (it.archived ? ' (archived)' : ''),
    ]),
  ])
}
