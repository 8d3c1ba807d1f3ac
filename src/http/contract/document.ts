import { createHash } from 'node:crypto'

/** A document that is built when it is first asked for, and from then on served as it stands. */
export class ContractDocument {
  readonly #build: () => object
  #built: { readonly text: string; readonly etag: string } | undefined

  constructor(build: () => object) {
    this.#build = build
  }

  /** JSON. */
  get text(): string {
    return this.#get().text
  }

  /** Of its content, quotes and all. */
  get etag(): string {
    return this.#get().etag
  }

  #get() {
    if (this.#built === undefined) {
      const text = JSON.stringify(this.#build())
      this.#built = { text, etag: `"${createHash('sha256').update(text).digest('base64url')}"` }
    }
    return this.#built
  }
}
