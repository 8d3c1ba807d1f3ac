import { pipeline, Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'

const CHUNK_BYTES = 512 * 1024
/** In pieces of so many bytes a damaged file opens nearly up to the damage. */
export const SALVAGE_BYTES = 1024
const LINE_FEED = 0x0a

/** The text of a gzip file in pieces of whole lines. Throws, behind the last of them, when it does not open to its end. */
export async function* wholeLines(body: Buffer, chunkBytes = CHUNK_BYTES): AsyncGenerator<Buffer, void> {
  let rest: Buffer[] = []
  for await (const chunk of unzipped(body, chunkBytes)) {
    const end = chunk.lastIndexOf(LINE_FEED) + 1
    if (end === 0) {
      rest.push(chunk)
      continue
    }
    yield rest.length === 0 ? chunk.subarray(0, end) : Buffer.concat([...rest, chunk.subarray(0, end)])
    rest = end === chunk.length ? [] : [chunk.subarray(end)]
  }
  if (rest.length > 0) throw new Error('its last line has no end')
}

/** Of a gzip file that may be damaged, whole lines of what can be read, and whether that is all. */
export async function salvage(body: Buffer): Promise<{ text: Buffer; isWhole: boolean }> {
  const pieces: Buffer[] = []
  let isWhole = false
  try {
    for await (const piece of wholeLines(body, SALVAGE_BYTES)) pieces.push(piece)
    isWhole = true
  } catch {
    // What has come before is what it is called for.
  }
  return { text: Buffer.concat(pieces), isWhole }
}

function unzipped(body: Buffer, chunkSize: number): AsyncIterable<Buffer> {
  const gunzip = createGunzip({ chunkSize })
  pipeline(Readable.from([body]), gunzip, () => {}) // the error comes out of whoever reads
  return gunzip
}
