import type { Scope } from '../../src/auth/principal.ts'
import { ERRORS, type ErrorCode } from '../../src/protocol/errors.ts'
import { at } from './answers.ts'
import { type Answer, call, refusedUpgrade, TailClient } from './client.ts'
import { hold } from './contract.ts'
import { EventStreamClient } from './eventStreamClient.ts'

type Headers = Readonly<Record<string, string>>

export interface EveryCall {
  readonly name: string
  readonly scope: Scope
  /** Whether the session is named in the path. */
  readonly isOfSession: boolean
  /** Makes it. A tail that is let in counts as 101, and is closed again. */
  readonly send: (base: string, id: string, headers?: Headers) => Promise<Answer>
}

const EVENT = { type: 'note', payload: { n: 1 } }

const http = (
  scope: Scope,
  method: string,
  rest: string | undefined,
  body?: (id: string) => unknown,
): EveryCall => ({
  name: `${method} ${rest === undefined ? '/v1/sessions' : `/v1/sessions/:id${rest}`}`,
  scope,
  isOfSession: rest !== undefined,
  send: (base, id, headers) =>
    call(method, rest === undefined ? `${base}/v1/sessions` : at(base, id, rest), body?.(id), headers),
})

/** Every call of the API about sessions. */
export const EVERY_CALL: readonly EveryCall[] = [
  http('session:create', 'POST', undefined, (id) => ({ id })),
  http('session:read', 'GET', undefined),
  http('session:read', 'GET', ''),
  http('session:create', 'PATCH', '', () => ({ title: 'new' })),
  http('session:create', 'POST', '/archive'),
  http('session:create', 'POST', '/unarchive'),
  http('session:append', 'POST', '/append', () => EVENT),
  http('session:append', 'POST', '/events', () => ({ events: [EVENT, EVENT] })),
  http('session:read', 'GET', '/events'),
  http('session:read', 'GET', '/events?order=desc&type=note'),
  {
    name: 'GET /v1/sessions/:id/tail',
    scope: 'session:read',
    isOfSession: true,
    send: async (base, id, headers) => {
      const tail = new TailClient(base, id, 'cursor=0', headers)
      const opened = await new Promise<boolean>((resolve) => {
        tail.socket.once('open', () => resolve(true)).once('error', () => resolve(false))
      })
      tail.close()
      if (!opened) return refusedUpgrade(at(base, id, '/tail?cursor=0'), headers)
      return { status: 101, headers: new Headers(), text: '', json: {} }
    },
  },
  { name: 'POST /v1/tails', scope: 'session:read', isOfSession: true, send: tailMany },
]

/** What the one tail of a stream for many was answered first, as if it had been a request of its own. */
async function tailMany(base: string, id: string, headers: Headers = {}): Promise<Answer> {
  const url = `${base}/v1/tails`
  const stream = new EventStreamClient(url, headers, { tails: [{ session_id: id }] })
  try {
    await stream.until('the tail is answered', () => stream.messages.length > 0 || stream.ended)
    const status = stream.response?.statusCode ?? 0
    const answered = new globalThis.Headers(stream.response?.headers as Record<string, string>)
    if (status !== 200) {
      const answer = { status, headers: answered, text: stream.text, json: JSON.parse(stream.text) }
      hold('POST', url, answer)
      return answer
    }
    const { session_id: _, ...json } = JSON.parse(stream.events[0] ?? '{}')
    answered.set('content-type', 'application/json; charset=utf-8')
    const refused = ERRORS[json.error as ErrorCode]?.status
    return { status: refused ?? 200, headers: answered, text: JSON.stringify(json), json }
  } finally {
    stream.close()
  }
}
