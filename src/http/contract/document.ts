import { createHash } from 'node:crypto'

/** A document that is built at the first request and then served unchanged. */
export class ContractDocument {
  readonly #build: () => object
  #built: { readonly text: string; readonly etag: string } | undefined

  constructor(build: () => object) {
    this.#build = build
  }

  /** The document as JSON text. */
  get text(): string {
    return this.#get().text
  }

  /** The ETag of the content, with its quotes. */
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
