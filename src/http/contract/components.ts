import type { TSchema } from 'typebox'

/** Transforms an object of a schema before it is written. It also gets maps of members by name, whose values are schemas. */
export type Form = (schema: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>

/**
 * The schemas of a document. A schema with a title is written once, under its title, and referenced elsewhere.
 */
export class Components {
  readonly schemas: Record<string, unknown> = {}
  readonly #form: Form

  constructor(form: Form = (schema) => schema) {
    this.#form = form
  }

  /** The schema as the document has it: a reference when it has a title. */
  of(schema: TSchema): unknown {
    return this.#convert(schema)
  }

  #convert(value: unknown): unknown {
    if (Array.isArray(value)) return value.map((it) => this.#convert(it))
    if (typeof value !== 'object' || value === null) return value
    // In a schema `title` is text. A member named `title`, as sessions have, is a schema.
    const { title } = value as { title?: unknown }
    return typeof title === 'string' ? this.#refer(title, value) : this.#members(value)
  }

  #refer(title: string, schema: object): object {
    const written = this.#members(schema)
    const known = this.schemas[title]
    if (known === undefined) this.schemas[title] = written
    else if (JSON.stringify(known) !== JSON.stringify(written))
      throw new Error(`there are two schemas ${title}`)
    return { $ref: `#/components/schemas/${title}` }
  }

  #members(schema: object): Record<string, unknown> {
    const written = this.#form(schema as Record<string, unknown>)
    return Object.fromEntries(Object.entries(written).map(([name, value]) => [name, this.#convert(value)]))
  }
}
