import { promisify } from 'node:util'
import { constants, createGunzip, gzip } from 'node:zlib'
import { type Leaf, leafLine, parseLeafLine } from './leaf.ts'

const compress = promisify(gzip)

/** Hashes do not compress, and the rest does at any level. Compare the options of src/archive/slice.ts. */
const GZIP = { level: 4, strategy: constants.Z_FILTERED }
/** Bytes of text that a thread of Node's pool compresses while more leaves are read. */
const MEMBER_CHARACTERS = 512 * 1024

/**
 * Writes the object that lists a checkpoint's leaves: gzip members one after the other, which any gunzip reads as
 * one.
 */
export class LeavesWriter {
  readonly #members: Promise<Buffer>[] = []
  #lines: string[] = []
  #characters = 0

  add(leaf: Leaf): void {
    const line = leafLine(leaf)
    this.#lines.push(line)
    this.#characters += line.length
    if (this.#characters >= MEMBER_CHARACTERS) this.#close()
  }

  async finish(): Promise<Buffer> {
    if (this.#lines.length > 0) this.#close()
    return Buffer.concat(await Promise.all(this.#members))
  }

  #close(): void {
    const member = compress(this.#lines.join(''), GZIP)
    member.catch(() => {}) // the error reaches the caller that waits for the whole
    this.#members.push(member)
    this.#lines = []
    this.#characters = 0
  }
}

/** Reads the leaves that such an object lists, some at a time. Rejects when it is damaged or lists anything else. */
export async function* readLeaves(object: Buffer): AsyncGenerator<Leaf[], void> {
  let rest = ''
  const gunzip = createGunzip()
  gunzip.end(object)
  gunzip.setEncoding('utf8')
  for await (const text of gunzip) {
    const lines = (rest + text).split('\n')
    rest = lines.pop() as string
    if (lines.length > 0) yield lines.map(parseLeafLine)
  }
  if (rest !== '') throw new Error('the list of leaves ends within a line')
}
