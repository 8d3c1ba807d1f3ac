import { once } from 'node:events'
import { CSV } from '../../audit/export/csv.ts'
import { type Exported, exportEvents } from '../../audit/export/exportEvents.ts'
import { NDJSON } from '../../audit/export/ndjson.ts'
import { countScope } from '../../audit/read/queries.ts'
import type { Selection } from '../../audit/read/selection.ts'
import { UsageError } from '../exit.ts'
import { amount, err } from '../terminal.ts'
import { Meter, size } from './meter.ts'
import { type Output, openOutput } from './outputFile.ts'
import { requireScope, withSources } from './sources.ts'

export interface ExportRequest {
  readonly selection: Selection
  readonly format: 'ndjson' | 'csv'
  /** Undefined: to standard output. */
  readonly output: string | undefined
  readonly isResumed: boolean
}

const FORMATS = { ndjson: NDJSON, csv: CSV } as const

/** Writes the selected events, and says how many on standard error. */
export async function exportSelected({
  selection,
  output,
  isResumed,
  ...request
}: ExportRequest): Promise<void> {
  const format = FORMATS[request.format]
  const meter = new Meter('exported')
  const to = output === undefined ? toStdout(format.head) : await openOutput(output, format, isResumed)
  try {
    refuseOther(selection, to)
    const exported = await withSources(async ({ db, store, signal }) => {
      await requireScope(db, selection)
      const total = meter.isShown ? await totalOf(selection, () => countScope(db, selection)) : undefined
      return exportEvents({
        ...{ db, store, signal, selection, format, after: to.cursor },
        write: (bytes) => to.write(bytes),
        onProgress: (it) => meter.show(it, partOf(it, total)),
      })
    })
    await to.close()
    meter.clear()
    err(
      `${amount(exported.events)} events exported, ${size(exported.bytes)}, in ${meter.seconds.toFixed(1)} s.\n`,
    )
  } catch (error) {
    meter.clear()
    if ((await to.abandon()) && !(error instanceof UsageError))
      err(`What was exported is in ${output}; --resume goes on from there.\n`)
    throw error
  }
}

/** The file says what it was made with only by its last event. */
function refuseOther({ tenant, session }: Selection, { cursor }: Output): void {
  if (cursor === undefined) return
  if ((tenant ?? cursor.tenant) !== cursor.tenant || (session ?? cursor.session) !== cursor.session)
    throw new UsageError(
      `--resume: the file ends with session ${cursor.session} of tenant ${cursor.tenant}, which these options leave out`,
    )
}

/** How many will be read; unknown where only a part of each session is. */
async function totalOf(
  { from, to }: Selection,
  count: () => Promise<{ events: number }>,
): Promise<number | undefined> {
  return from === undefined && to === undefined ? (await count()).events : undefined
}

const partOf = ({ read }: Readonly<Exported>, total: number | undefined) =>
  total === undefined || total === 0 ? undefined : Math.min(1, read / total)

function toStdout(head: string): Output {
  const write = async (bytes: Buffer | string) => {
    if (bytes.length > 0 && !process.stdout.write(bytes)) await once(process.stdout, 'drain')
  }
  let isBegun = false
  const begin = async () => {
    if (!isBegun) await write(head)
    isBegun = true
  }
  return {
    cursor: undefined,
    write: async (bytes) => {
      await begin()
      await write(bytes)
    },
    close: begin,
    abandon: async () => false,
  }
}
