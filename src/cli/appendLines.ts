import { createInterface } from 'node:readline'
import type { StarciteError } from '../client/errors.ts'
import { eventText, isNumbered } from '../client/eventText.ts'
import type { SessionHandle } from '../client/session.ts'
import { amount, err, out, progress } from './terminal.ts'

interface Line {
  readonly number: number
  readonly text: string
}

/** Interval of the progress line. */
const SHOW_MS = 100

/**
 * Appends one event per line, `size` in a request. Lines with producer fields, such as exported events, are sent unchanged;
 * other lines get those of a producer of this run.
 */
export async function appendLines(
  session: SessionHandle,
  input: NodeJS.ReadableStream,
  size: number,
): Promise<void> {
  await session.get() // fails for a wrong address, token or session before anything is read
  const shown = progress(process.stderr)
  const started = performance.now()
  let [stored, first, last, shownAt, through] = [0, 0, 0, 0, 0]
  const producer = crypto.randomUUID()
  let next = 1
  for await (const batch of batchesOf(input, size)) {
    const events = batch.map(({ text, number }) => {
      if (isNumberedLine(text, number)) return text
      const numbered = `{"producer_id":"${producer}","producer_seq":${next},${text.slice(1)}`
      next += 1
      return numbered
    })
    const answer = await send(session, events).catch((error: StarciteError) => {
      shown.clear()
      const line = batch[Number(error.details?.index ?? 0)]?.number
      const where = error.details?.index === undefined ? `lines from ${line}` : `line ${line}`
      const kept = through === 0 ? 'nothing is stored' : `lines up to ${through} are stored`
      throw Object.assign(error, { message: `${where}: ${error.message} (${kept})` })
    })
    stored += batch.length
    through = batch.at(-1)?.number ?? through
    first ||= answer.results[0]?.seq ?? 0
    last = answer.cursor
    if (performance.now() - shownAt < SHOW_MS) continue
    shownAt = performance.now()
    shown.show(
      `${amount(stored)} events, ${amount(Math.round(stored / ((shownAt - started) / 1000)))} a second`,
    )
  }
  shown.clear()
  out(
    stored === 0
      ? 'There was no event to append.\n'
      : `${amount(stored)} events appended: seq ${first} to ${last}.\n`,
  )
}

/** Repeats a request until its answer is final, which is safe: every event has a producer key. */
async function send(session: SessionHandle, events: readonly string[]) {
  for (;;) {
    try {
      return await session.appendMany(events)
    } catch (error) {
      const { retryable, message, retryAfterMs } = error as StarciteError
      if (!retryable) throw error
      err(`starcite append: ${message}; retrying\n`)
      await new Promise((resolve) => setTimeout(resolve, retryAfterMs ?? 1000))
    }
  }
}

function isNumberedLine(text: string, number: number): boolean {
  try {
    return isNumbered(eventText(text, { numbered: true }))
  } catch (error) {
    throw Object.assign(error as Error, { message: `line ${number}: ${(error as Error).message}` })
  }
}

async function* batchesOf(input: NodeJS.ReadableStream, size: number): AsyncGenerator<readonly Line[]> {
  let batch: Line[] = []
  let number = 0
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    number += 1
    const text = line.trim()
    if (text === '') continue
    batch.push({ number, text })
    if (batch.length < size) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}
