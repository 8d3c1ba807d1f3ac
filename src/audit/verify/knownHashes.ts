import type { Problem } from '../../archive/problem.ts'
import type { Finding } from '../finding.ts'
import type { Scope } from '../read/scope.ts'

/** Hashes that were kept outside of the log, from receipts, checkpoints or an auditor's own notes. */
export interface KnownHashes {
  /** Lower-case hex by seq; undefined when no hash of the session is known. */
  of(tenant: string, session: string): ReadonlyMap<number, string> | undefined
  /** The sessions of which a hash is known. */
  sessions(): Iterable<KnownSession>
}

export interface KnownSession {
  readonly tenant: string
  readonly session: string
}

/** Compares a chain, as it is verified, with the known hashes of its session. */
export class KnownHashesOfSession {
  readonly #kept: ReadonlyMap<number, string>

  constructor(kept: ReadonlyMap<number, string>) {
    this.#kept = kept
  }

  compare(seq: number, hash: string): Problem | undefined {
    const kept = this.#kept.get(seq)
    if (kept === undefined || kept === hash) return undefined
    return { seq, reason: 'checkpoint', detail: `the known hash of it is ${kept}` }
  }

  /** Describes what is wrong when the log ends with `lastSeq`; undefined when nothing is. */
  compareEnd(lastSeq: number): Problem | undefined {
    let beyond = 0
    for (const seq of this.#kept.keys()) beyond = Math.max(beyond, seq)
    if (beyond <= lastSeq) return undefined
    return {
      seq: lastSeq + 1,
      reason: 'checkpoint',
      detail: `a hash of event ${beyond} is known, and the log ends with ${lastSeq}`,
    }
  }
}

/**
 * Reads NDJSON with tenant_id, session_id, seq and hash. Throws at a line of another form, and at one that
 * contradicts an earlier line.
 */
export function readKnownHashes(text: string): KnownHashes {
  const bySession = new Map<string, Map<number, string>>()
  const nameOf = (tenant: string, session: string) => JSON.stringify([tenant, session])
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue
    const { tenant_id, session_id, seq, hash } = headOf(line, i + 1)
    const name = nameOf(tenant_id, session_id)
    const kept = bySession.get(name) ?? new Map<number, string>()
    const value = hash.toLowerCase()
    if ((kept.get(seq) ?? value) !== value)
      throw new Error(`line ${i + 1} has a different hash of event ${seq} than an earlier line`)
    bySession.set(name, kept.set(seq, value))
  }
  return {
    of: (tenant, session) => bySession.get(nameOf(tenant, session)),
    *sessions() {
      for (const name of bySession.keys()) {
        const [tenant, session] = JSON.parse(name) as [string, string]
        yield { tenant, session }
      }
    },
  }
}

interface KnownHash {
  readonly tenant_id: string
  readonly session_id: string
  readonly seq: number
  readonly hash: string
}

function headOf(line: string, number: number): KnownHash {
  try {
    const head = JSON.parse(line) as KnownHash
    const isOne =
      typeof head.tenant_id === 'string' &&
      typeof head.session_id === 'string' &&
      Number.isSafeInteger(head.seq) &&
      /^[0-9a-fA-F]{64}$/.test(head.hash)
    if (isOne) return head
  } catch {
    // reported below
  }
  throw new Error(`line ${number} must be {"tenant_id": …, "session_id": …, "seq": …, "hash": 64 hex digits}`)
}

/** Finds sessions of which a hash is known and that were not there to be verified. */
export function* unseen(
  kept: KnownHashes,
  seen: ReadonlySet<ReadonlyMap<number, string>>,
  scope: Pick<Scope, 'tenant' | 'session'>,
): Generator<Finding> {
  for (const { tenant, session } of kept.sessions()) {
    const heads = kept.of(tenant, session)
    if (heads === undefined || seen.has(heads)) continue
    if ((scope.tenant ?? tenant) !== tenant || (scope.session ?? session) !== session) continue
    const detail = 'a hash of the session is known, and the session does not exist'
    yield { tenant, session, seq: 1, reason: 'checkpoint', detail }
  }
}
