import type { AppendResult } from '../append/newEvent.ts'

/** Renders the response to an append of one event as JSON text. It is the same on every transport. */
export function renderAppended({ results, lastSeq }: AppendResult): string {
  const { seq, deduped } = results[0] as AppendResult['results'][0]
  return `{"seq":${seq},"last_seq":${lastSeq},"deduped":${deduped},"cursor":${seq},"committed_cursor":${lastSeq}}`
}
