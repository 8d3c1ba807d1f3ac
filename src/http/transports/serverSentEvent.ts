const LINE_END = /[\r\n]/
const LINE_ENDS = /\r\n|\r|\n/g

/**
 * Renders JSON text as a server-sent event. Line ends in JSON are white space between tokens, so the reader, which joins the
 * lines again, gets the same value, and no line begins a field of its own. `id` and `name` must not contain line ends.
 */
export function serverSentEvent(id: string, json: string, name?: string): string {
  const event = name === undefined ? '' : `event: ${name}\n`
  return `${event}id: ${id}\n${serverSentData(json)}`
}

/** Renders JSON text as a server-sent event without an id, for streams that have no single cursor. */
export function serverSentData(json: string): string {
  const data = LINE_END.test(json) ? json.replaceAll(LINE_ENDS, '\ndata: ') : json
  return `data: ${data}\n\n`
}

/** Encodes a server-sent event in UTF-8, as a chunk of an HTTP/1.1 body. */
export const serverSentChunk = (event: string): Buffer =>
  Buffer.from(`${Buffer.byteLength(event).toString(16)}\r\n${event}\r\n`)
