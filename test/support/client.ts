import { once } from 'node:events'
import { WebSocket } from 'ws'
import { hold, holdFrame } from './contract.ts'
import { PATIENCE_MS } from './until.ts'

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: an answer is looked at by the assertions of each test
  readonly json: any
}

/** One HTTP call, whose answer is as the contract has it. See `request`. */
export async function call(...parameters: Parameters<typeof request>): Promise<Answer> {
  const answer = await request(...parameters)
  const [method, url] = parameters
  hold(method, url, answer)
  return answer
}

/**
 * One HTTP call, with a JSON body unless it is text already, that may be answered anything. Rejects with a TimeoutError
 * past `timeoutMs`.
 */
export async function request(
  method: string,
  url: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
  timeoutMs?: number,
): Promise<Answer> {
  const isText = typeof body === 'string' || body instanceof Uint8Array
  const response = await fetch(url, {
    method,
    headers: body === undefined ? headers : { 'content-type': 'application/json', ...headers },
    ...(timeoutMs === undefined ? {} : { signal: AbortSignal.timeout(timeoutMs) }),
    ...(body === undefined ? {} : { body: isText ? (body as string) : JSON.stringify(body) }),
  })
  const text = await response.text()
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    json = undefined
  }
  return { status: response.status, headers: response.headers, text, json }
}

/** The answer to a WebSocket upgrade that is refused. */
export async function refusedUpgrade(
  url: string,
  headers: Readonly<Record<string, string | string[]>> = {},
): Promise<Answer> {
  const socket = new WebSocket(url.replace(/^http/, 'ws'), { headers: headers as Record<string, string> })
  const [request, response] = await once(socket, 'unexpected-response')
  let text = ''
  for await (const chunk of response) text += chunk
  request.destroy()
  const { statusCode: status } = response
  const answer = { status, headers: new Headers(response.headers), text, json: JSON.parse(text) }
  hold('GET', url, answer)
  return answer
}

const TAIL = ['tail']

/** A raw tail: its frames as text, in order, and how it ended. */
export class TailClient {
  readonly socket: WebSocket
  readonly frames: string[] = []
  closed: { code: number; reason: string } | undefined
  readonly #waiting = new Set<() => void>()

  constructor(
    base: string,
    sessionId: string,
    query: string,
    headers: Readonly<Record<string, string>> = {},
  ) {
    const url = `${base.replace(/^http/, 'ws')}/v1/sessions/${encodeURIComponent(sessionId)}/tail?${query}`
    this.socket = new WebSocket(url, { headers })
    this.socket.on('message', (data) => {
      holdFrame(TAIL, String(data))
      this.frames.push(String(data))
      this.#changed()
    })
    this.socket.on('close', (code, reason) => {
      this.closed = { code, reason: String(reason) }
      this.#changed()
    })
    this.socket.on('error', () => {}) // followed by close
  }

  /** Every event received, one text each, whether it came alone or in an array. */
  get events(): string[] {
    return this.frames.flatMap((frame) =>
      frame.startsWith('[') ? (JSON.parse(frame) as object[]).map((event) => JSON.stringify(event)) : [frame],
    )
  }

  /** Resolves when the condition holds; rejects after `timeoutMs`. */
  async until(condition: (tail: this) => boolean, timeoutMs = PATIENCE_MS): Promise<void> {
    const deadline = Date.now() + timeoutMs
    while (!condition(this)) {
      const left = deadline - Date.now()
      if (left <= 0)
        throw new Error(`the tail has ${this.frames.length} frames, closed: ${JSON.stringify(this.closed)}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left)
        this.#waiting.add(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
  }

  close(): void {
    this.socket.terminate()
  }

  #changed(): void {
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
  }
}
