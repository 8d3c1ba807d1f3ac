import { RenderedEvent, withoutContent } from '../protocol/event.ts'

/** The members of an archived line after those of the rendered event; docs/archive-format.md describes them. */
export interface ArchivedEvent {
  readonly rendered: RenderedEvent
  /** Lower-case hex; null once the content was erased. */
  readonly salt: string | null
  readonly contentDigest: string
  readonly hash: string
  /** The form of the hash chain that `hash` has (sql/chained_hash.sql). */
  readonly chainVersion: number
}

/** The first member of an archived line after those of the rendered event. */
const AFTER_FRAME = ',"session_id":'
const LINE_FEEDS = ',"line_feeds":['
const LINE_FEED = 0x0a

/** One line of an object, with its line feed: the rendered event, then the session's id and the hashes. */
export function archiveLine(sessionId: string, event: ArchivedEvent): string {
  const { rendered, contentDigest, hash, chainVersion } = event
  const salt = event.salt === null ? 'null' : `"${event.salt}"`
  const offsets = lineFeedsOf(rendered.text)
  const text = offsets.length === 0 ? rendered.text : withBytes(rendered.text, offsets, ' ')
  return (
    `${text.slice(0, -1)}${AFTER_FRAME}${JSON.stringify(sessionId)},"salt":${salt}` +
    `,"content_digest":"${contentDigest}","hash":"${hash}"${chainVersion === 1 ? '' : `,"chain_version":${chainVersion}`}` +
    `${offsets.length === 0 ? '' : `${LINE_FEEDS}${offsets}]`}}\n`
  )
}

/**
 * The rendered event of a line, byte for byte as it was. Quotes are escaped inside JSON strings, and no member after
 * the rendered event holds an object, so the last occurrence of the marker is the one that archiveLine wrote.
 */
export function renderedEventOfLine(line: string, seq: number): RenderedEvent {
  const end = line.lastIndexOf(AFTER_FRAME)
  if (end === -1 || !line.startsWith(`{"seq":${seq},`))
    throw new Error(`the line of event ${seq} does not have the form of an archived event`)
  const text = `${line.slice(0, end)}}`
  const lineFeeds = line.endsWith(']}') ? line.lastIndexOf(LINE_FEEDS) : -1
  if (lineFeeds < end) return new RenderedEvent(seq, text)
  const offsets = line
    .slice(lineFeeds + LINE_FEEDS.length, -2)
    .split(',')
    .map(Number)
  return new RenderedEvent(seq, withBytes(text, offsets, '\n'))
}

/**
 * The same line once the event's content is erased; a line without content is returned as it is. Neither has a line
 * feed.
 */
export function redactLine(line: string, seq: number): string {
  const rendered = withoutContent(renderedEventOfLine(line, seq))
  const after = JSON.parse(`{${line.slice(line.lastIndexOf(AFTER_FRAME) + 1)}`) as {
    session_id: string
    content_digest: string
    hash: string
    chain_version?: number
  }
  const { session_id, content_digest, hash, chain_version: chainVersion = 1 } = after
  const event = { rendered, salt: null, contentDigest: content_digest, hash, chainVersion }
  return archiveLine(session_id, event).slice(0, -1)
}

/**
 * The offsets of line feeds in a rendered event. They occur only between the tokens of payload, metadata or refs,
 * where a space can replace them. Offsets count bytes of UTF-8, which every language can do.
 */
function lineFeedsOf(text: string): number[] {
  if (!text.includes('\n')) return []
  const bytes = Buffer.from(text)
  const offsets: number[] = []
  for (let at = bytes.indexOf(LINE_FEED); at !== -1; at = bytes.indexOf(LINE_FEED, at + 1)) offsets.push(at)
  return offsets
}

function withBytes(text: string, offsets: readonly number[], character: ' ' | '\n'): string {
  const bytes = Buffer.from(text)
  for (const offset of offsets) bytes.write(character, offset)
  return bytes.toString()
}
