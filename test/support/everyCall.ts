import { expect } from 'chai'
import type { Scope } from '../../src/auth/principal.ts'
import { type Operation, scopeOf } from '../../src/http/operation.ts'
import { OPERATIONS } from '../../src/http/operations.ts'
import { ERRORS, type ErrorCode } from '../../src/protocol/errors.ts'
import { type Answer, call, refusedUpgrade, TailClient } from './client.ts'
import { hold } from './contract.ts'
import { EventStreamClient } from './eventStreamClient.ts'
import { sampleOf } from './sampleOf.ts'
import { until } from './until.ts'

type Headers = Readonly<Record<string, string>>

/** One way to make a call of an operation, with a body that its schema allows. */
export interface EveryCall {
  readonly name: string
  readonly operation: Operation
  /** Makes it; `id` stands for every parameter of the path but `seq`. A tail that is let in counts as 101 or 200, and ends. */
  readonly send: (base: string, id: string, headers?: Headers) => Promise<Answer>
}

/** A call that takes a token with a scope. */
export interface TokenCall extends EveryCall {
  readonly scope: Scope
  /** Whether the session is named in the path or the body, so that the lock of a token is checked. */
  readonly isOfSession: boolean
  /** The statuses of a call that the token allows, on a session that has an event. */
  readonly letIn: readonly number[]
}

/** Calls with other parameters, beside the plain one. */
const QUERIES: Readonly<Record<string, readonly string[]>> = { listEvents: ['', '?order=desc&type=note'] }
/** What a sample of the path names may not exist, or exist already. */
const ALSO_LET_IN: Readonly<Record<string, readonly number[]>> = { createSession: [409], getErasure: [404] }

const isOpen = ({ scope, webSocket }: Operation) => scope === undefined && webSocket === undefined
const isHandshake = ({ webSocket }: Operation) => webSocket?.authentication !== undefined
const isOfService = ({ servicesOnly }: Operation) => servicesOnly === true
const takesToken = (operation: Operation) => operation.scope !== undefined && !isOfService(operation)

/** Calls that any token with the scope may make: who may call them is swept over by test/http/auth.test.ts and others. */
export const EVERY_CALL: readonly TokenCall[] = OPERATIONS.filter(takesToken).flatMap((operation) =>
  callsOf(operation).map((call) => ({
    ...call,
    scope: scopeOf(operation, { eraseScope: 'session:create' }) as Scope,
    isOfSession: operation.path.includes('/:id') || operation.path === '/v1/tails',
    letIn: [...Object.keys(operation.answers).map(Number), ...(ALSO_LET_IN[operation.id] ?? [])],
  })),
)
/** Calls that take the token of a service. */
export const SERVICE_CALLS: readonly EveryCall[] = OPERATIONS.filter(isOfService).flatMap(callsOf)
/** Calls that take no token. */
export const OPEN_CALLS: readonly EveryCall[] = OPERATIONS.filter(isOpen).flatMap(callsOf)
/** Handshakes that are refused in their own way: test/http/socketTokens.test.ts. */
export const OWN_HANDSHAKES: readonly Operation[] = OPERATIONS.filter(isHandshake)

function callsOf(operation: Operation): EveryCall[] {
  const { eventStream, id, path, webSocket } = operation
  const name = `${operation.method.toUpperCase()} ${path}`
  if (webSocket && eventStream)
    return [
      { name, operation, send: (base, of, headers) => openTail(base, of, headers) },
      { name: `${name} as an event stream`, operation, send: sendTo(operation, '', openStream) },
    ]
  const send = path === '/v1/tails' ? tailMany : eventStream ? openStream : call
  return (QUERIES[id] ?? ['']).map((query) => ({
    name: name + query,
    operation,
    send: sendTo(operation, query, send),
  }))
}

function sendTo({ body, method, path }: Operation, query: string, send: Send): EveryCall['send'] {
  return (base, id, headers) => {
    const filled = path.replace(':seq', '1').replace(/:\w+/, encodeURIComponent(id))
    return send(method.toUpperCase(), base + filled + query, body && sampleOf(body.schema, id), headers)
  }
}

type Send = (method: string, url: string, body?: unknown, headers?: Headers) => Promise<Answer>

async function openTail(base: string, id: string, headers?: Headers): Promise<Answer> {
  const tail = new TailClient(base, id, 'cursor=0', headers)
  const opened = await new Promise<boolean>((resolve) => {
    tail.socket.once('open', () => resolve(true)).once('error', () => resolve(false))
  })
  tail.close()
  if (!opened) return refusedUpgrade(`${base}/v1/sessions/${encodeURIComponent(id)}/tail?cursor=0`, headers)
  return { status: 101, headers: new Headers(), text: '', json: {} }
}

async function openStream(
  method: string,
  url: string,
  body?: unknown,
  headers: Headers = {},
): Promise<Answer> {
  const stream = new EventStreamClient(url, headers, body as object | undefined)
  try {
    await stream.until('the stream is answered', () => stream.response !== undefined || stream.ended)
    if (stream.response?.statusCode === 200) return answerOf(stream, 200, '', {})
    return await refusalOf(stream, method, url)
  } finally {
    stream.close()
  }
}

/** What the one tail of a stream for many was answered first, as if it had been a request of its own. */
async function tailMany(method: string, url: string, body?: unknown, headers: Headers = {}): Promise<Answer> {
  const stream = new EventStreamClient(url, headers, body as object)
  try {
    await stream.until('the tail is answered', () => stream.messages.length > 0 || stream.ended)
    if (stream.response?.statusCode !== 200) return await refusalOf(stream, method, url)
    const { session_id: _, ...json } = JSON.parse(stream.events[0] ?? '{}')
    const answer = answerOf(
      stream,
      ERRORS[json.error as ErrorCode]?.status ?? 200,
      JSON.stringify(json),
      json,
    )
    answer.headers.set('content-type', 'application/json; charset=utf-8')
    return answer
  } finally {
    stream.close()
  }
}

async function refusalOf(stream: EventStreamClient, method: string, url: string): Promise<Answer> {
  await stream.until('the refusal is whole', () => stream.ended)
  const answer = answerOf(stream, stream.response?.statusCode ?? 0, stream.text, JSON.parse(stream.text))
  hold(method, url, answer)
  return answer
}

const answerOf = ({ response }: EventStreamClient, status: number, text: string, json: unknown): Answer => ({
  status,
  headers: new globalThis.Headers(response?.headers as Record<string, string>),
  text,
  json,
})

/**
 * Makes every call of the API once on a node without authentication, and expects each to be let in: on the session `id`, or on one
 * of its own where the call erases something.
 */
export async function makeEveryCall(base: string, id: string): Promise<void> {
  let erasure = id
  for (const { name, operation, send } of [...EVERY_CALL, ...SERVICE_CALLS, ...OPEN_CALLS]) {
    const isErasure = operation.tag === 'erasure' && operation.path.includes('/:id')
    const session = isErasure ? `${id}_${operation.id}` : id
    if (isErasure) {
      await call('POST', `${base}/v1/sessions`, { id: session })
      await call('POST', `${base}/v1/sessions/${session}/append`, { type: 'note', payload: {} })
    }
    const sendIt = () => send(base, operation.path.includes(':erasure') ? erasure : session)
    let answer = await sendIt()
    // The node archives meanwhile, and an erasure waits 2 s for its locks at most: it is retried, as the error says.
    if (isErasure)
      await until(`${name} gets its locks`, async () => {
        if (answer.json.error !== 'storage_unavailable') return true
        answer = await sendIt()
        return false
      })
    expect(answer.status, `${name}: ${answer.text}`).to.be.oneOf([101, 200, 201, 202])
    if (isErasure) erasure = answer.json.id
  }
}
