import pg from 'pg'

/** What our statements are written for, whatever the server, the database, the role or the URL says. */
export const PINNED = {
  /**
   * Functions, operators, types and tables that they do not qualify are looked up in the catalog. pg_temp is named to be
   * the last; unnamed, the temporary tables and types of a session come before the catalog.
   */
  search_path: 'pg_catalog, pg_temp',
  /** A backslash in a string is a backslash. */
  standard_conforming_strings: 'on',
  /** The text NULL is null where an array is written as text. */
  array_nulls: 'on',
  /** bytea comes as \\x and hex digits. */
  bytea_output: 'hex',
  /** Times come as ISO 8601, and intervals as Postgres reads them. */
  DateStyle: 'ISO',
  IntervalStyle: 'postgres',
  /** `= null` is null. */
  transform_null_equals: 'off',
  /** Names are quoted where they have to be. */
  quote_all_identifiers: 'off',
} as const

/** Of pg's Connection, what sends the messages of the extended protocol. */
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

/** Up to the Sync that follows the statement proper, everything is one transaction: so is the path. */
const PIN_TRANSACTION = `select ${Object.entries(PINNED)
  .map(([name, value]) => `pg_catalog.set_config('${name}', '${value}', true)`)
  .join(', ')}`

/** A statement that is sent behind PIN_TRANSACTION; the answers to that come first, and are dropped here. */
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
    // pg notes at each ParseComplete that the query's name is prepared; the first of them is that of the pin.
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
