/** A server-sent event. `id` is the last that the stream gave, this event's or an earlier one's. */
export interface StreamEvent {
  readonly id: string
  readonly data: string
  /** Its name, when it has one. */
  readonly name?: string
}

/**
 * Reads server-sent events out of text that comes in pieces, cut anywhere (the HTML standard, "Parsing an event
 * stream"). An event that has not come to its empty line is never told.
 */
export class EventStreamParser {
  #rest = ''
  #afterReturn = false
  #data: string[] = []
  #id = ''
  #name = ''
  /** Where a reader who has taken every event stands: the last id that came with its empty line, with data or not. */
  lastId = ''

  push(text: string): StreamEvent[] {
    const events: StreamEvent[] = []
    let piece = this.#afterReturn && text.startsWith('\n') ? text.slice(1) : text
    this.#afterReturn = text.endsWith('\r')
    piece = this.#rest + piece
    const lines = piece.split(/\r\n|\r|\n/)
    this.#rest = lines.pop() ?? ''
    for (const line of lines) {
      if (line !== '') {
        this.#field(line)
        continue
      }
      this.lastId = this.#id
      const name = this.#name
      this.#name = ''
      if (this.#data.length === 0) continue
      events.push({ id: this.#id, data: this.#data.join('\n'), ...(name && { name }) })
      this.#data = []
    }
    return events
  }

  #field(line: string): void {
    const colon = line.indexOf(':')
    const name = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (name === 'data') this.#data.push(value)
    else if (name === 'event') this.#name = value
    else if (name === 'id' && !value.includes('\0')) this.#id = value
  }
}
