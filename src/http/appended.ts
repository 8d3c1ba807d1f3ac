import type { AppendResult } from '../append/newEvent.ts'

/** The answer to an append of one event, as JSON text; the same on every transport. */
export function renderAppended({ results, lastSeq }: AppendResult): string {
  const { seq, deduped } = results[0] as AppendResult['results'][0]
  return `{"seq":${seq},"last_seq":${lastSeq},"deduped":${deduped},"cursor":${seq},"committed_cursor":${lastSeq}}`
}
