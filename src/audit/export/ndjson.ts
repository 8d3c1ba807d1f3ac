import type { Cursor, Selected } from '../read/selection.ts'
import { type End, ForeignFileError, type Format, type ReadableFile } from './format.ts'

const BLOCK_BYTES = 64 * 1024
const LINE_FEED = 0x0a
/** The beginning of every line. */
const BEGIN = '{"seq":'

/** The lines of docs/archive-format.md, byte for byte, with one more member: `tenant_id`, after `session_id`. */
export const NDJSON: Format = {
  name: 'ndjson',
  head: '',
  render: ({ head, line, end }: Selected): Buffer => {
    const { bytes, start, sessionId } = line
    const behind = sessionId.end + 1
    const tenant = Buffer.from(`,"tenant_id":${JSON.stringify(head.tenant)}`)
    return Buffer.concat([bytes.subarray(start, behind), tenant, bytes.subarray(behind, end + 1)])
  },
  findEnd: async (file: ReadableFile): Promise<End> => {
    const begin = (await file.read(0, Math.min(BEGIN.length, file.bytes))).toString()
    if (!BEGIN.startsWith(begin)) throw new ForeignFileError('the file is not an export in NDJSON')
    const end = await lineFeedBefore(file, file.bytes)
    if (end === -1) return { offset: 0, cursor: undefined }
    const start = (await lineFeedBefore(file, end)) + 1
    return { offset: end + 1, cursor: cursorOf((await file.read(start, end - start)).toString()) }
  },
}

/** The offset of the last line feed before `offset`; -1 when there is none. */
async function lineFeedBefore(file: ReadableFile, offset: number): Promise<number> {
  for (let end = offset; end > 0; ) {
    const start = Math.max(0, end - BLOCK_BYTES)
    const at = (await file.read(start, end - start)).lastIndexOf(LINE_FEED)
    if (at !== -1) return start + at
    end = start
  }
  return -1
}

function cursorOf(line: string): Cursor {
  try {
    const { tenant_id: tenant, session_id: session, seq } = JSON.parse(line)
    if (typeof tenant === 'string' && typeof session === 'string' && Number.isSafeInteger(seq))
      return { tenant, session, seq }
  } catch {
    // reported below
  }
  throw new ForeignFileError('the last line of the file is not one of an export in NDJSON')
}
