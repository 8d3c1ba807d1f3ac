import { Readable } from 'node:stream'
import { BrokenAnswer } from './attempts.ts'

/** Reads the whole body of a response: `length` bytes, or all there are when the server did not state a length. */
export async function readExactly(body: unknown, length: number | undefined): Promise<Buffer> {
  if (!(body instanceof Readable)) throw new TypeError('the SDK returned something other than a stream')
  const chunks: Buffer[] = []
  let read = 0
  try {
    for await (const chunk of body) {
      read += chunk.length
      if (read > (length ?? Number.POSITIVE_INFINITY)) break
      chunks.push(chunk)
    }
  } catch (cause) {
    throw new BrokenAnswer(`the body was cut after ${read} bytes of ${length ?? '?'}`, { cause })
  }
  if (length !== undefined && read !== length)
    throw new BrokenAnswer(`the body has ${read > length ? 'more' : read} bytes, not ${length}`)
  return Buffer.concat(chunks, read)
}
