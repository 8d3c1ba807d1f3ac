import { readSelected, type SelectionOptions } from '../read/selection.ts'
import type { Format } from './format.ts'

/** Bytes that are gathered before they are written. */
const WRITE_BYTES = 1024 * 1024

export interface Exported {
  /** Events that were written. */
  events: number
  bytes: number
  /** Events that were examined. */
  read: number
}

export interface ExportOptions extends Omit<SelectionOptions, 'onEvent' | 'onRun'> {
  readonly format: Format
  readonly write: (bytes: Buffer) => Promise<void>
  readonly onProgress?: (exported: Readonly<Exported>) => void
}

/** Writes the selected events, in their order. What was read before a failure is written, as whole records. */
export async function exportEvents(options: ExportOptions): Promise<Exported> {
  const { format, write, onProgress } = options
  const exported: Exported = { events: 0, bytes: 0, read: 0 }
  let records: Buffer[] = []
  let bytes = 0
  const flush = async () => {
    if (bytes === 0) return
    const all = Buffer.concat(records, bytes)
    records = []
    bytes = 0
    await write(all)
  }
  try {
    await readSelected({
      ...options,
      onEvent: (event) => {
        const record = format.render(event)
        records.push(record)
        bytes += record.length
        exported.events += 1
        exported.bytes += record.length
      },
      onRun: async ({ events }) => {
        exported.read += events
        if (bytes >= WRITE_BYTES) await flush()
        onProgress?.(exported)
      },
    })
  } catch (cause) {
    await flush().catch(() => {}) // the first failure is the one to report
    throw cause
  }
  await flush()
  return exported
}
