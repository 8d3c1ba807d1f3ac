import pg from 'pg'

/** The settings that the statements are written for. They override the server, the database, the role and the URL. */
export const PINNED = {
  /**
   * Unqualified functions, operators, types and tables are looked up in the catalog. pg_temp is named so that it
   * comes last; otherwise the temporary tables and types of a session would come before the catalog.
   */
  search_path: 'pg_catalog, pg_temp',
  /** A backslash in a string is a backslash. */
  standard_conforming_strings: 'on',
  /** The text NULL is null in an array that is written as text. */
  array_nulls: 'on',
  /** bytea is sent as \\x and hex digits. */
  bytea_output: 'hex',
  /** Times are sent as ISO 8601, and intervals as Postgres reads them. */
  DateStyle: 'ISO',
  IntervalStyle: 'postgres',
  /** `= null` is null. */
  transform_null_equals: 'off',
  /** Names are quoted where they have to be. */
  quote_all_identifiers: 'off',
} as const

/** The part of pg's Connection that sends the messages of the extended protocol. */
interface Wire {
  readonly submittedNamedStatements: Record<string, string>
  parse(message: { text: string; name: string; types: readonly number[] }): void
  bind(message: { portal: string; statement: string; values: readonly unknown[] }): void
  execute(message: { portal: string; rows: number }): void
}

interface QueryOfPg {
  name: string | undefined
  prepare(wire: Wire): void
  handleDataRow(message: unknown): void
  handleCommandComplete(message: unknown, wire: Wire): void
  handleError(error: unknown, wire: Wire): void
}

type Callback = (error: Error | null, result: unknown) => void

const Query = pg.Query as unknown as new (config: unknown, values: unknown, callback: Callback) => QueryOfPg

/** Everything up to the Sync that follows the statement is one transaction, and so is the search path. */
const PIN_TRANSACTION = `select ${Object.entries(PINNED)
  .map(([name, value]) => `pg_catalog.set_config('${name}', '${value}', true)`)
  .join(', ')}`

/** A statement that is sent after PIN_TRANSACTION; the results of that come first, and are dropped here. */
export class PinnedQuery extends Query {
  #isPinned = false
  readonly #statement: string | undefined

  constructor(config: string | object, values: unknown, callback: Callback) {
    super(
      { ...(typeof config === 'string' ? { text: config } : config), queryMode: 'extended' },
      values,
      callback,
    )
    this.#statement = this.name
  }

  override prepare(wire: Wire): void {
    wire.parse({ text: PIN_TRANSACTION, name: '', types: [] })
    wire.bind({ portal: '', statement: '', values: [] })
    wire.execute({ portal: '', rows: 0 })
    super.prepare(wire)
    // pg records at each ParseComplete that the query's name is prepared; the first one belongs to the pin.
    this.name = undefined
  }

  override handleDataRow(message: unknown): void {
    if (this.#isPinned) super.handleDataRow(message)
  }

  override handleCommandComplete(message: unknown, wire: Wire): void {
    if (this.#isPinned) {
      super.handleCommandComplete(message, wire)
      return
    }
    this.#isPinned = true
    this.name = this.#statement
  }

  override handleError(error: unknown, wire: Wire): void {
    if (!this.#isPinned && this.#statement !== undefined)
      delete wire.submittedNamedStatements[this.#statement]
    super.handleError(error, wire)
  }
}
