import { Command } from 'commander'
import type { NewEvent } from '../../client/types.ts'
import { appendLines } from '../appendLines.ts'
import { UsageError } from '../exit.ts'
import { integer, jsonObject } from '../optionValues.ts'
import { clientOf, type Target, withTarget } from '../target.ts'
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
    .description(
      'Append to a session: one event, from options or JSON, or one event per line of standard input.',
    )
    .argument('<session>', 'session id')
    .argument('[event]', 'the event as JSON, sent unchanged')
    .option('--type <type>', 'type of the event')
    .option('--text <text>', 'payload {"text": …}')
    .option('--payload <json>', 'payload', jsonObject('--payload'))
    .option(
      '--actor <actor>',
      'actor of the event; a token allows its own subject, or any actor with the scope session:act_as',
    )
    .option('--source <source>', 'source of the event')
    .option('--metadata <json>', 'metadata of the event', jsonObject('--metadata'))
    .option(
      '--expected-seq <seq>',
      'append only if this is the last event of the session',
      integer('--expected-seq', 0),
    )
    .option('--batch <n>', 'lines per request, from standard input', integer('--batch', 1, 1000), 200)
    .addHelpText(
      'after',
      `
  starcite append ses_demo --type content --text 'hello' --actor agent:drafter
  starcite append ses_demo '{"type":"content","payload":{"text":"hello"}}'
  starcite append ses_demo < events.ndjson

Each line of standard input is an event. Every event is stored once, in order, also when an answer is lost or the node
restarts. The command stops at the first line that is rejected, names it, and says what is stored.`,
    )
    .action(async (id: string, text: string | undefined, { url, token, ...options }: Options) => {
      const client = await clientOf({ url, ...(token && { token }) })
      const session = client.session(id)
      const event = text ?? eventOf(options)
      if (event === undefined) return appendLines(session, process.stdin, options.batch)
      if (text !== undefined && eventOf(options) !== undefined)
        throw new UsageError('give the event either as JSON or by options, not both')
      const { expectedSeq } = options
      const appended = await session.append(event, expectedSeq === undefined ? {} : { expectedSeq })
      out(`${JSON.stringify(appended)}\n`)
      return undefined
    })
}

/** The event that the options describe; undefined when the events are on standard input. */
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
      throw new UsageError('--type is missing: every event has a type, such as content')
    if (process.stdin.isTTY)
      throw new UsageError('give an event: --type and --text, JSON, or lines on standard input')
    return undefined
  }
  if (text !== undefined && payload !== undefined)
    throw new UsageError('give either --text or --payload, not both')
  return {
    type,
    payload: payload ?? (text === undefined ? {} : { text }),
    ...(actor !== undefined && { actor }),
    ...(source !== undefined && { source }),
    ...(metadata !== undefined && { metadata }),
  }
}
