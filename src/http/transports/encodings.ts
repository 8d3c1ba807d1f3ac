import { serverSentChunk, serverSentEvent } from './serverSentEvent.ts'

/** An event that was rendered once and is sent on many connections. */
export interface Sendable {
  /** What a reader comes back with to go on after it. */
  readonly id: string
  /** The name of its server-sent event; undefined: the default, `message`. */
  readonly name?: string
  /** JSON. */
  readonly text: string
  /** Where `encodingsOf` keeps them. */
  encodings: object | undefined
}

const DATA = '\ndata: '
const LINE_END = /[\r\n]/

/** The forms in which transports send an event, each made when it is first needed, however many connections it goes to. */
class Encodings {
  readonly #event: Sendable
  #bytes: Buffer | undefined
  #serverSentChunk: Buffer | undefined

  constructor(event: Sendable) {
    this.#event = event
  }

  /** UTF-8 of the text, as a rule a part of `serverSentChunk`. */
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

/** The encodings of an event, which it keeps for as long as it lives. */
export function encodingsOf(event: Sendable): Encodings {
  event.encodings ??= new Encodings(event)
  return event.encodings as Encodings
}

/** The event as a server-sent one. */
export const serverSentOf = ({ id, text, name }: Sendable): string => serverSentEvent(id, text, name)

/** The one line of data in a chunk. */
const dataOf = (chunk: Buffer): Buffer =>
  chunk.subarray(chunk.indexOf(DATA) + DATA.length, chunk.length - '\n\n\r\n'.length)
