import { readFileSync } from 'node:fs'
import type { ChainVersion } from '../../src/archive/chain.ts'

/** docs/archive-vectors.json: one file for Postgres, for the code and for readers that share no code with it. */
interface Vectors {
  readonly length_prefixed: readonly { readonly value: string | null; readonly text: string }[]
  readonly object_keys: readonly {
    readonly tenant_id: string
    readonly segment: string
    readonly sha256: string
    readonly key: string
  }[]
  readonly sessions: readonly VectorSession[]
  readonly objects: readonly VectorObject[]
}

export interface VectorSession {
  readonly tenant_id: string
  readonly session_id: string
  readonly genesis_hash: string
  readonly events: readonly VectorEvent[]
}

export interface VectorEvent {
  readonly seq: number
  readonly inserted_at: string
  readonly type: string
  readonly actor: string
  readonly subject: string | null
  readonly source: string | null
  readonly producer_id: string | null
  readonly producer_seq: number | null
  readonly idempotency_key: string | null
  readonly payload: string
  readonly metadata: string
  readonly refs: string
  readonly chain_version: ChainVersion
  readonly salt: string
  readonly content_digest: string
  readonly link: string
  readonly hash: string
  readonly rendered: string
  readonly line: string
  /** The objects have the erased line of the events that have one. */
  readonly line_once_erased?: string
}

export interface VectorObject {
  readonly key: string
  readonly tenant_id: string
  readonly segment: string
  readonly sha256: string
  readonly body: string
  readonly slices: readonly {
    readonly session_id: string
    readonly first_seq: number
    readonly last_seq: number
    readonly byte_offset: number
    readonly bytes: number
    readonly sha256: string
  }[]
}

export const VECTORS = JSON.parse(
  readFileSync(new URL('../../docs/archive-vectors.json', import.meta.url), 'utf8'),
) as Vectors

/** The lines that the objects hold of a session's seqs. */
export function archivedLines(session: string, firstSeq: number, lastSeq: number): string[] {
  const events = VECTORS.sessions.find((vector) => vector.session_id === session)?.events ?? []
  return events.slice(firstSeq - 1, lastSeq).map((event) => event.line_once_erased ?? event.line)
}
