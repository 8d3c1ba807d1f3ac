import { Command } from 'commander'
import { jsonObject } from '../optionValues.ts'
import { clientOf, type Target, withTarget } from '../target.ts'
import { out } from '../terminal.ts'

interface Options extends Target {
  readonly title?: string
  readonly metadata?: Record<string, unknown>
  readonly json?: true
}

export function createCommand(): Command {
  return withTarget(new Command('create'))
    .description('Create a session, and print its id.')
    .argument('[id]', 'session id, of 1 to 256 bytes (default: the node generates one)')
    .option('--title <text>', 'title of the session')
    .option(
      '--metadata <json>',
      'metadata of the session, which lists can filter by',
      jsonObject('--metadata'),
    )
    .option('--json', 'print the whole session')
    .addHelpText(
      'after',
      `\n  starcite create ses_demo --title 'Draft contract' --metadata '{"team":"legal"}'`,
    )
    .action(async (id: string | undefined, { title, metadata, json, ...target }: Options) => {
      const session = await (await clientOf(target)).createSession({
        ...(id !== undefined && { id }),
        ...(title !== undefined && { title }),
        ...(metadata !== undefined && { metadata }),
      })
      out(`${json ? JSON.stringify(session) : session.id}\n`)
    })
}
