import { networkError, StarciteError, serverErrorFrom } from '../errors.ts'
import type { Call, Http } from '../http/http.ts'
import { EventStreamParser, type StreamEvent } from './eventStreamParser.ts'
import type { End, Link } from './link.ts'

const OPEN_TIMEOUT_MS = 15_000

/**
 * An event stream that is read by fetch. Unlike EventSource it can send headers, works on servers, and reads at the pace of its
 * reader.
 */
export class EventStreamLink implements Link {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #abort: AbortController
  readonly #whenDone: End
  readonly #parser = new EventStreamParser()
  readonly #decoder = new TextDecoder()
  #events: StreamEvent[] = []
  #end: End | undefined
  /** The id of the last event that was read. */
  id = ''
  heardAt = Date.now()

  private constructor(
    reader: ReadableStreamDefaultReader<Uint8Array>,
    abort: AbortController,
    whenDone: End,
  ) {
    this.#reader = reader
    this.#abort = abort
    this.#whenDone = whenDone
  }

  /**
   * Opens a stream; undefined when the server answers 204, so the tail is complete. `whenDone` is the result of an orderly end
   * of the stream. Rejects with the server's error, or a network error.
   */
  static async open(
    http: Http,
    call: Call,
    options: { signal: AbortSignal; whenDone: End },
  ): Promise<EventStreamLink | undefined> {
    const { signal, whenDone } = options
    const abort = new AbortController()
    const give = () => abort.abort()
    signal.addEventListener('abort', give, { once: true })
    if (signal.aborted) give()
    const timer = setTimeout(give, OPEN_TIMEOUT_MS)
    try {
      const headers = { ...call.headers, accept: 'text/event-stream' }
      const response = await http.open({ ...call, headers }, abort.signal)
      if (response.status === 204) return undefined
      const type = response.headers.get('content-type') ?? ''
      if (response.status !== 200 || !type.startsWith('text/event-stream') || response.body === null) {
        abort.abort()
        throw new StarciteError(
          'invalid_answer',
          `an event stream was expected, not ${response.status} ${type}`,
          {
            status: response.status,
            retryable: true,
          },
        )
      }
      return new EventStreamLink(response.body.getReader(), abort, whenDone)
    } catch (error) {
      throw error instanceof StarciteError
        ? error
        : networkError(error, 'the event stream could not be opened')
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', give)
    }
  }

  /** The cursor after everything received so far. */
  get lastId(): string {
    return this.#parser.lastId
  }

  async next(): Promise<string | End> {
    while (this.#events.length === 0 && this.#end === undefined) {
      try {
        const { done, value } = await this.#reader.read()
        if (done) this.#end ??= this.#whenDone
        else this.#events = this.#parser.push(this.#decoder.decode(value, { stream: true }))
        this.heardAt = Date.now()
      } catch (error) {
        this.#end ??= { at: 'broken', reason: (error as Error).message }
      }
    }
    const event = this.#events.shift()
    if (event === undefined) return this.#end as End
    const error = errorOf(event)
    if (error !== undefined) return { at: 'refused', error }
    this.id = event.id
    return event.data
  }

  close(): void {
    this.#events = []
    this.#end ??= { at: 'broken', reason: 'closed by the client' }
    this.#abort.abort()
    this.#reader.cancel().catch(() => {})
  }
}

/** The error with which a server ends a stream: an event with the name and the form of an error. */
function errorOf({ name, data }: StreamEvent): StarciteError | undefined {
  const error = name === undefined ? undefined : serverErrorFrom(0, data)
  return error?.code === name ? error : undefined
}
