import type { Scope } from '../../src/auth/principal.ts'
import { at } from './answers.ts'
import { type Answer, call, refusedUpgrade, TailClient } from './client.ts'

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
]
