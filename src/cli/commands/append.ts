import { Command } from 'commander'
import type { NewEvent } from '../../client/types.ts'
import { appendLines } from '../appendLines.ts'
import { UsageError } from '../exit.ts'
import { clientOf, integer, jsonObject, type Target, withTarget } from '../target.ts'
import { out } from '../terminal.ts'

interface Options extends Target {
  readonly type?: string
  readonly text?: string
  readonly payload?: Record<string, unknown>
  readonly actor?: string
  readonly source?: string
  readonly metadata?: Record<string, unknown>
  readonly expectedSeq?: number
  readonly batch: number
}

export function appendCommand(): Command {
  return withTarget(new Command('append'))
    .description('Append to a session: an event of options, of JSON, or one a line from standard input.')
    .argument('<session>', 'its id')
    .argument('[event]', 'a whole event as JSON, sent as it stands')
    .option('--type <type>', 'of the event')
    .option('--text <text>', 'its payload is {"text": …}')
    .option('--payload <json>', 'its payload', jsonObject('--payload'))
    .option(
      '--actor <actor>',
      'who appends; with a token its subject, or anyone if it has the scope session:act_as',
    )
    .option('--source <source>', 'where it comes from')
    .option('--metadata <json>', 'beside the payload', jsonObject('--metadata'))
    .option('--expected-seq <seq>', 'only if the session is at this event', integer('--expected-seq', 0))
    .option('--batch <n>', 'lines in one request, from standard input', integer('--batch', 1, 1000), 200)
    .addHelpText(
      'after',
      `
  starcite append ses_demo --type content --text 'hello' --actor agent:drafter
  starcite append ses_demo '{"type":"content","payload":{"text":"hello"}}'
  starcite append ses_demo < events.ndjson

From standard input each line is an event. Every one is stored once, in order, through lost answers and restarts of the
node. At the first that is refused it stops, and says which line that is and what is stored.`,
    )
    .action(async (id: string, text: string | undefined, { url, token, ...options }: Options) => {
      const session = clientOf({ url, ...(token && { token }) }).session(id)
      const event = text ?? eventOf(options)
      if (event === undefined) return appendLines(session, process.stdin, options.batch)
      if (text !== undefined && eventOf(options) !== undefined)
        throw new UsageError('give the event as JSON, or its members as options, not both')
      const { expectedSeq } = options
      const appended = await session.append(event, expectedSeq === undefined ? {} : { expectedSeq })
      out(`${JSON.stringify(appended)}\n`)
      return undefined
    })
}

/** Undefined: standard input has the events. */
function eventOf({
  type,
  text,
  payload,
  actor,
  source,
  metadata,
}: Omit<Options, 'url'>): NewEvent | undefined {
  if (type === undefined) {
    if (text !== undefined || payload !== undefined || actor !== undefined || source !== undefined)
      throw new UsageError('--type is missing: an event has a type, such as content')
    if (process.stdin.isTTY)
      throw new UsageError('give an event: --type and --text, JSON, or one a line on standard input')
    return undefined
  }
  if (text !== undefined && payload !== undefined) throw new UsageError('--text or --payload, not both')
  return {
    type,
    payload: payload ?? (text === undefined ? {} : { text }),
    ...(actor !== undefined && { actor }),
    ...(source !== undefined && { source }),
    ...(metadata !== undefined && { metadata }),
  }
}
