const LINE_END = /[\r\n]/
const LINE_ENDS = /\r\n|\r|\n/g

/**
 * JSON text as a server-sent event. In JSON an end of line is only white space between tokens, so what is split there
 * and joined again by the reader is the same value; and nothing in it can begin a field of its own. `id` and `name`
 * must be free of them.
 */
export function serverSentEvent(id: string, json: string, name?: string): string {
  const event = name === undefined ? '' : `event: ${name}\n`
  return `${event}id: ${id}\n${serverSentData(json)}`
}

/** The same without an id, for streams that have no single position to come back to. */
export function serverSentData(json: string): string {
  const data = LINE_END.test(json) ? json.replaceAll(LINE_ENDS, '\ndata: ') : json
  return `data: ${data}\n\n`
}

/** That, in UTF-8, as a chunk of an HTTP/1.1 body. */
export const serverSentChunk = (event: string): Buffer =>
  Buffer.from(`${Buffer.byteLength(event).toString(16)}\r\n${event}\r\n`)
