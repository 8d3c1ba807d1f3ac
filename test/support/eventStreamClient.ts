import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { until } from './until.ts'

export interface Message {
  readonly id: string
  readonly data: string
}

/** An event stream, read as the HTML standard says ("Interpreting an event stream"). */
export class EventStreamClient {
  readonly #request: ClientRequest
  response: IncomingMessage | undefined
  /** Everything received, as it came. */
  text = ''
  readonly messages: Message[] = []
  readonly comments: string[] = []
  retryMs: number | undefined
  lastEventId = ''
  ended = false
  #buffer = ''
  #data: string[] = []
  #id = ''

  /** With a body it is sent by POST. */
  constructor(url: string, headers: Readonly<Record<string, string>> = {}, body?: object) {
    const method = body === undefined ? 'GET' : 'POST'
    const all = { accept: 'text/event-stream', ...headers }
    this.#request = request(url, { method, headers: all, agent: false })
    this.#request.on('error', () => {
      this.ended = true
    })
    this.#request.on('response', (response) => {
      this.response = response
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => this.#take(chunk))
      response.on('close', () => {
        this.ended = true
      })
      response.on('error', () => {}) // followed by close
    })
    this.#request.end(body === undefined ? undefined : JSON.stringify(body))
  }

  get events(): string[] {
    return this.messages.map(({ data }) => data)
  }

  async until(what: string, condition: (client: this) => boolean, timeoutMs?: number): Promise<void> {
    await until(what, () => condition(this), timeoutMs)
  }

  close(): void {
    this.#request.destroy()
  }

  #take(chunk: string): void {
    this.text += chunk
    this.#buffer += chunk
    const lines = this.#buffer.split(/\r\n|\n|\r(?!$)/)
    this.#buffer = lines.pop() ?? ''
    for (const line of lines) this.#line(line)
  }

  #line(line: string): void {
    if (line === '') this.#dispatch()
    else if (line.startsWith(':')) this.comments.push(line.slice(1))
    else {
      const [, field = '', value = ''] = /^([^:]*):? ?(.*)$/s.exec(line) ?? []
      if (field === 'data') this.#data.push(value)
      else if (field === 'id') this.#id = value
      else if (field === 'retry') this.retryMs = Number(value)
    }
  }

  #dispatch(): void {
    this.lastEventId = this.#id
    if (this.#data.length > 0) this.messages.push({ id: this.lastEventId, data: this.#data.join('\n') })
    this.#data = []
  }
}
