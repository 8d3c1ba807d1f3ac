import { hash } from 'node:crypto'
import { salvage } from '../../archive/gunzip.ts'
import { openSlice } from '../../archive/slice.ts'
import { mapAhead } from '../../lib/mapAhead.ts'
import { type ObjectStore, ObjectStoreError } from '../../objects/objectStore.ts'
import type { IndexedSlice } from './queries.ts'
import type { ColdSlice } from './scope.ts'

/** Adjacent slices are fetched together, up to about this many bytes. */
const FETCH_BYTES = 512 * 1024
/** Fetches that are in progress, or wait, opened, for their turn. */
const FETCHES = 6

/** The text of a slice, or why it cannot be read. */
export type OpenedSlice =
  | { readonly fault: undefined; readonly member: Buffer; readonly text: Buffer }
  | { readonly fault: 'object_missing'; readonly detail: string }
  /** With the text that can be read of the changed bytes. */
  | { readonly fault: 'object_changed'; readonly detail: string; readonly text: Buffer }

/** The slices in their order, fetched and opened ahead. Rejects when the store is unavailable. */
export async function* openSlices(
  store: ObjectStore,
  slices: AsyncIterable<IndexedSlice>,
  signal: AbortSignal,
): AsyncGenerator<IndexedSlice & { readonly opened: OpenedSlice }, void> {
  const runs = mapAhead(neighbours(slices), FETCHES, async (run) => {
    const opened = await openRun(store, run, signal)
    return run.map((it, i) => ({ ...it, opened: opened[i] as OpenedSlice }))
  })
  for await (const run of runs) yield* run
}

/** Opens one slice, by itself. */
export async function openOne(
  store: ObjectStore,
  slice: ColdSlice,
  signal: AbortSignal,
): Promise<OpenedSlice> {
  const [opened] = await openRun(store, [{ index: 0, slice }], signal)
  return opened as OpenedSlice
}

async function* neighbours(slices: AsyncIterable<IndexedSlice>): AsyncGenerator<IndexedSlice[], void> {
  let run: IndexedSlice[] = []
  let bytes = 0
  for await (const it of slices) {
    const last = run.at(-1)?.slice
    const isNext =
      last?.object.id === it.slice.object.id &&
      last.object.key === it.slice.object.key &&
      last.offset + last.bytes === it.slice.offset
    if (run.length > 0 && (!isNext || bytes + it.slice.bytes > FETCH_BYTES)) {
      yield run
      run = []
      bytes = 0
    }
    run.push(it)
    bytes += it.slice.bytes
  }
  if (run.length > 0) yield run
}

async function openRun(
  store: ObjectStore,
  run: readonly IndexedSlice[],
  signal: AbortSignal,
): Promise<OpenedSlice[]> {
  const first = (run[0] as IndexedSlice).slice
  const bytes = run.reduce((sum, { slice }) => sum + slice.bytes, 0)
  let body: Buffer
  try {
    body = await store.getRange(first.object.key, first.offset, bytes, signal)
  } catch (error) {
    const kind = error instanceof ObjectStoreError ? error.kind : undefined
    if (kind === 'missing')
      return run.map(() => ({ fault: 'object_missing', detail: `there is no object ${first.object.key}` }))
    if (kind !== 'damaged') throw error
    // The object ends too early; the first of several slices may be whole all the same.
    if (run.length > 1)
      return Promise.all(run.map(async (it) => (await openRun(store, [it], signal))[0] as OpenedSlice))
    return [await openShort(store, first, signal)]
  }
  return Promise.all(
    run.map(({ slice }) => {
      const from = slice.offset - first.offset
      return open(slice, body.subarray(from, from + slice.bytes))
    }),
  )
}

async function open(slice: ColdSlice, member: Buffer): Promise<OpenedSlice> {
  const isAsWritten = hash('sha256', member, 'hex') === slice.sha256
  const text = await openSlice(member).catch(() => undefined)
  if (isAsWritten && text !== undefined) return { fault: undefined, member, text }
  const what = isAsWritten ? 'do not open' : 'are not those of the manifest'
  const detail = `the ${slice.bytes} bytes of ${slice.object.key} at ${slice.offset} ${what}`
  return { fault: 'object_changed', detail, text: text ?? (await salvage(member)).text }
}

/** Describes a slice of which the object lacks a part. */
async function openShort(
  store: ObjectStore,
  { object, offset }: ColdSlice,
  signal: AbortSignal,
): Promise<OpenedSlice> {
  const whole = await store.get(object.key, signal)
  const detail = `object ${object.key} has ${whole.length} bytes, not ${object.bytes}`
  return { fault: 'object_changed', detail, text: (await salvage(whole.subarray(offset))).text }
}
