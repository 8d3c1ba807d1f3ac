import { Command } from 'commander'
import type { TailState } from '../../client/tail/tail.ts'
import type { SessionEvent } from '../../client/types.ts'
import { integer } from '../optionValues.ts'
import { clientOf, type Target, withTarget } from '../target.ts'
import { err, escapeControlCharacters, out, painter, styleOf } from '../terminal.ts'

interface Options extends Target {
  readonly cursor: number
  readonly follow: boolean
  readonly json?: true
  readonly type?: string
  readonly actor?: string
  readonly sse?: true
}

export function tailCommand(): Command {
  return withTarget(new Command('tail'))
    .description('Print the events of a session after a cursor, then each new event, until Ctrl-C.')
    .argument('<session>', 'session id')
    .option('--cursor <seq>', 'print events after this seq', integer('--cursor', 0), 0)
    .option('--follow', 'go on with new events (the default)')
    .option('--no-follow', 'end after the event that is the last one now')
    .option('--json', 'print each event as it is on the wire, byte for byte, one per line')
    .option('--type <type>', 'print only events of this type')
    .option('--actor <actor>', 'print only events of this actor')
    .option('--sse', 'use server-sent events instead of a WebSocket')
    .addHelpText(
      'after',
      `
The command reconnects by itself and goes on from its cursor. On a terminal each actor has a colour; NO_COLOR=1 turns
colours off. To copy a session (repeating the copy is safe only if every event has producer fields):

  starcite tail ses_demo --no-follow --json | starcite append ses_copy`,
    )
    .action(async (id: string, { cursor, follow, json, type, actor, sse, ...target }: Options) => {
      const show = json ? (event: SessionEvent) => `${oneLine(event.raw)}\n` : lines()
      const options = { cursor, follow, onConnection: report, ...(sse && { transport: 'sse' as const }) }
      const session = (await clientOf(target)).session(id)
      await session.get() // fails at once for a wrong address, token or session, which the tail would retry
      for await (const event of session.tail(options)) {
        if ((type ?? event.type) !== event.type || (actor ?? event.actor) !== event.actor) continue
        if (!out(show(event))) await new Promise((resolve) => process.stdout.once('drain', resolve))
      }
    })
}

/** Removes the line ends that a payload may have between its tokens; strings of JSON have none. */
const oneLine = (json: string) => json.replaceAll(/[\r\n]/g, ' ')

function lines(): (event: SessionEvent) => string {
  const paint = painter(process.stdout)
  return ({ seq, type, actor, payload, inserted_at }) => {
    const time = inserted_at.slice(11, 19)
    const text = typeof payload.text === 'string' ? payload.text : JSON.stringify(payload)
    const who = paint(styleOf(actor), escapeControlCharacters(actor))
    return `${paint('dim', `${String(seq).padStart(4)}  ${time}`)}  ${who}  ${escapeControlCharacters(type)}  ${escapeControlCharacters(text)}\n`
  }
}

function report(state: TailState): void {
  if (state.at !== 'waiting') return
  const { error, ms } = state
  err(
    `starcite tail: ${escapeControlCharacters(error.message)}; reconnecting in ${(ms / 1000).toFixed(1)} s\n`,
  )
}
