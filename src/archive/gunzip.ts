import { pipeline, Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'

const CHUNK_BYTES = 512 * 1024
/** The size of the pieces in which a damaged file is opened: small, so that nearly all before the damage is read. */
export const SALVAGE_BYTES = 1024
const LINE_FEED = 0x0a

/**
 * The text of a gzip file in pieces of whole lines. Throws, after the last of them, when the file does not open to
 * its end.
 */
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
  if (rest.length > 0) throw new Error('its last line has no line feed')
}

/** The whole lines that can be read of a gzip file which may be damaged, and whether they are all. */
export async function salvage(body: Buffer): Promise<{ text: Buffer; isWhole: boolean }> {
  const pieces: Buffer[] = []
  let isWhole = false
  try {
    for await (const piece of wholeLines(body, SALVAGE_BYTES)) pieces.push(piece)
    isWhole = true
  } catch {
    // The pieces before the damage are the result.
  }
  return { text: Buffer.concat(pieces), isWhole }
}

function unzipped(body: Buffer, chunkSize: number): AsyncIterable<Buffer> {
  const gunzip = createGunzip({ chunkSize })
  pipeline(Readable.from([body]), gunzip, () => {}) // the error reaches the reader of the stream
  return gunzip
}
