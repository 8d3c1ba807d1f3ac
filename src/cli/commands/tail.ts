import { Command } from 'commander'
import type { TailState } from '../../client/tail/tail.ts'
import type { SessionEvent } from '../../client/types.ts'
import { clientOf, integer, type Target, withTarget } from '../target.ts'
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
    .description('Print a session from a cursor, and then what is appended to it, until Ctrl-C.')
    .argument('<session>', 'its id')
    .option('--cursor <seq>', 'only what comes after this event', integer('--cursor', 0), 0)
    .option('--follow', 'go on with what is appended (this is the default)')
    .option('--no-follow', 'end with what is the last event now')
    .option('--json', 'events as they are on the wire, byte for byte, one a line')
    .option('--type <type>', 'show only events of this type')
    .option('--actor <actor>', 'show only events of this actor')
    .option('--sse', 'server-sent events instead of a WebSocket')
    .addHelpText(
      'after',
      `
It comes back by itself, with its cursor, whatever happens to the connection or the node. On a terminal each actor has a
colour; NO_COLOR=1 takes it away. Copying a session, safe to repeat when its events carry producer fields:

  starcite tail ses_demo --no-follow --json | starcite append ses_copy`,
    )
    .action(async (id: string, { cursor, follow, json, type, actor, sse, ...target }: Options) => {
      const show = json ? (event: SessionEvent) => `${oneLine(event.raw)}\n` : lines()
      const options = { cursor, follow, onConnection: report, ...(sse && { transport: 'sse' as const }) }
      const session = clientOf(target).session(id)
      await session.get() // a wrong address, token or session is told, not tried again
      for await (const event of session.tail(options)) {
        if ((type ?? event.type) !== event.type || (actor ?? event.actor) !== event.actor) continue
        if (!out(show(event))) await new Promise((resolve) => process.stdout.once('drain', resolve))
      }
    })
}

/** Payloads may have been sent with line ends between their tokens; inside strings JSON has none. */
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
    `starcite tail: ${escapeControlCharacters(error.message)}; trying again in ${(ms / 1000).toFixed(1)} s\n`,
  )
}
