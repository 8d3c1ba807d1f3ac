import type { ArchivedLine } from '../../archive/archivedLine.ts'
import type { Selected } from '../read/selection.ts'
import { type End, ForeignFileError, type Format, type ReadableFile } from './format.ts'

/** The columns of audit.events, without payload_jsonb. */
const COLUMNS = [
  ...[
    'tenant',
    'session',
    'seq',
    'time',
    'type',
    'actor',
    'producer_id',
    'producer_seq',
    'idempotency_key',
    'source',
  ],
  ...[
    'payload',
    'metadata',
    'refs',
    'redacted',
    'content_digest',
    'hash',
    'tier',
    'salt',
    'chain_version',
    'subject',
  ],
]
const HEAD = `${COLUMNS.join(',')}\r\n`
const BLOCK_BYTES = 1024 * 1024
const QUOTE = 34
const LINE_FEED = 0x0a

/** RFC 4180, with a line of names. An absent value is empty; an empty text is in quotes. */
export const CSV: Format = {
  name: 'csv',
  head: HEAD,
  render: ({ head, line, tier }: Selected): Buffer => {
    line.restoreLineFeeds()
    const content = (span: ArchivedLine['payload']) => (line.isRedacted ? null : line.raw(span))
    const digits = (span: ArchivedLine['salt']) => (span.start === -1 ? null : line.raw(span))
    const fields = [
      head.tenant,
      head.session,
      line.raw(line.seqText),
      line.raw(line.insertedAt),
      line.text(line.type),
      line.text(line.actor),
      line.text(line.producerId),
      digits(line.producerSeq),
      line.text(line.idempotencyKey),
      line.text(line.source),
      content(line.payload),
      content(line.metadata),
      content(line.refs),
      String(line.isRedacted),
      line.raw(line.contentDigest),
      line.raw(line.hash),
      tier,
      digits(line.salt),
      String(line.chainVersion),
      line.text(line.subject),
    ]
    return Buffer.from(`${fields.map(field).join(',')}\r\n`)
  },
  findEnd: async (file: ReadableFile): Promise<End> => {
    const { before, end } = await lastRecord(file)
    const head = (await file.read(0, Math.min(HEAD.length, file.bytes))).toString()
    if (!HEAD.startsWith(head)) throw new ForeignFileError('the file is not an export in CSV')
    if (end === 0) return { offset: 0, cursor: undefined }
    if (before === 0) return { offset: end, cursor: undefined }
    const [tenant = '', session = '', seq = ''] = fieldsOf((await file.read(before, end - before)).toString())
    if (tenant === '' || session === '' || !/^\d+$/.test(seq))
      throw new ForeignFileError('the last record of the file is not one of an export in CSV')
    return { offset: end, cursor: { tenant, session, seq: Number(seq) } }
  },
}

function field(value: string | null): string {
  if (value === null) return ''
  return value === '' || /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value
}

/** Reads from the beginning, because whether a line feed ends a record depends on all the quotes before it. */
async function lastRecord(file: ReadableFile): Promise<{ before: number; end: number }> {
  let [before, end] = [0, 0]
  let isQuoted = false
  for (let offset = 0; offset < file.bytes; offset += BLOCK_BYTES) {
    const block = await file.read(offset, Math.min(BLOCK_BYTES, file.bytes - offset))
    for (let at = 0; at < block.length; at += 1)
      if (block[at] === QUOTE) isQuoted = !isQuoted
      else if (block[at] === LINE_FEED && !isQuoted) {
        before = end
        end = offset + at + 1
      }
  }
  return { before, end }
}

/** The fields of one record. */
function fieldsOf(record: string): string[] {
  return [...record.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^",\r\n]*))/g)].map(([, quoted, plain]) =>
    quoted === undefined ? (plain ?? '') : quoted.replaceAll('""', '"'),
  )
}
