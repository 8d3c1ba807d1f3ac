/** A server-sent event. `id` is the last id of the stream, of this event or an earlier one. */
export interface StreamEvent {
  readonly id: string
  readonly data: string
  /** The event's name, if it has one. */
  readonly name?: string
}

/**
 * Parses server-sent events from text in chunks of any size (the HTML standard, "Parsing an event stream"). An event without
 * its final empty line is ignored.
 */
export class EventStreamParser {
  #rest = ''
  #afterReturn = false
  #data: string[] = []
  #id = ''
  #name = ''
  /** The last id that was completed by an empty line, with data or not: the cursor after all events so far. */
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
