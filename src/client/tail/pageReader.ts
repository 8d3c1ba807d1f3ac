import { type EventPage, eventPageAnswer } from '../http/answers.ts'
import type { Http } from '../http/http.ts'
import type { AnyEvents } from '../types.ts'
import { type Cursor, queryOf } from './cursor.ts'

/** Reads pages of one session. After a page that did not arrive, for example over a slow link, it requests smaller ones. */
export class PageReader {
  readonly #http: Http
  readonly #path: string
  readonly #most: number
  #limit: number

  constructor(http: Http, path: string, limit: number) {
    this.#http = http
    this.#path = `${path}/events`
    this.#most = limit
    this.#limit = limit
  }

  /** The events after the cursor, without a gap. Rejects with StarciteError. */
  async after(cursor: Cursor, signal: AbortSignal): Promise<EventPage<AnyEvents>> {
    try {
      const call = { path: this.#path, query: { ...queryOf(cursor), limit: this.#limit }, signal }
      const read = eventPageAnswer<AnyEvents>({ cursor: cursor.seq, order: 'asc', isFiltered: false })
      const page = await this.#http.answer(call, read)
      this.#limit = Math.min(this.#most, 2 * this.#limit)
      return page
    } catch (error) {
      this.#limit = Math.max(1, this.#limit >> 2)
      throw error
    }
  }
}
