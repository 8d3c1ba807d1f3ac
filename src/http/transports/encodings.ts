import { serverSentChunk, serverSentEvent } from './serverSentEvent.ts'

/** An event that was rendered once and is sent on many connections. */
export interface Sendable {
  /** The id after which a reader that reconnects continues. */
  readonly id: string
  /** The name of the server-sent event. Absent: `message`. */
  readonly name?: string
  /** JSON. */
  readonly text: string
  /** The cache of `encodingsOf`. */
  encodings: object | undefined
}

const DATA = '\ndata: '
const LINE_END = /[\r\n]/

/** The encodings in which transports send an event. Each is made once, when it is first needed, for all connections. */
class Encodings {
  readonly #event: Sendable
  #bytes: Buffer | undefined
  #serverSentChunk: Buffer | undefined

  constructor(event: Sendable) {
    this.#event = event
  }

  /** The text in UTF-8; usually a slice of `serverSentChunk`. */
  get bytes(): Buffer {
    const { text } = this.#event
    this.#bytes ??= LINE_END.test(text) ? Buffer.from(text) : dataOf(this.serverSentChunk)
    return this.#bytes
  }

  /** A server-sent event, as a chunk of an HTTP/1.1 body. */
  get serverSentChunk(): Buffer {
    this.#serverSentChunk ??= serverSentChunk(serverSentOf(this.#event))
    return this.#serverSentChunk
  }
}

/** The encodings of an event, which are cached in the event. */
export function encodingsOf(event: Sendable): Encodings {
  event.encodings ??= new Encodings(event)
  return event.encodings as Encodings
}

/** The event as a server-sent one. */
export const serverSentOf = ({ id, text, name }: Sendable): string => serverSentEvent(id, text, name)

/** The single line of data in a chunk. */
const dataOf = (chunk: Buffer): Buffer =>
  chunk.subarray(chunk.indexOf(DATA) + DATA.length, chunk.length - '\n\n\r\n'.length)
