import { framed } from '../chain.ts'

/** Where the log of one session ended: what one leaf of a checkpoint's Merkle tree says. */
export interface Leaf {
  readonly tenantId: string
  readonly sessionId: string
  readonly seq: number
  /** The hash of that event, in lower-case hexadecimal. */
  readonly hash: string
}

/** What is hashed into the tree: four values, each self-delimiting. */
export const leafBytes = ({ tenantId, sessionId, seq, hash }: Leaf): Buffer =>
  Buffer.from(framed(tenantId) + framed(sessionId) + framed(seq) + framed(hash))

/** One line of the object that lists a checkpoint's leaves, in the order of the tree; with its line feed. */
export const leafLine = ({ tenantId, sessionId, seq, hash }: Leaf): string =>
  `{"tenant_id":${JSON.stringify(tenantId)},"session_id":${JSON.stringify(sessionId)},"seq":${seq},"hash":"${hash}"}\n`

/** Throws when the line is not one that leafLine makes. */
export function parseLeafLine(line: string): Leaf {
  const { tenant_id, session_id, seq, hash } = JSON.parse(line) as Record<string, unknown>
  if (
    typeof tenant_id !== 'string' ||
    typeof session_id !== 'string' ||
    typeof seq !== 'number' ||
    typeof hash !== 'string'
  )
    throw new Error(`not a leaf of a checkpoint: ${line.slice(0, 200)}`)
  return { tenantId: tenant_id, sessionId: session_id, seq, hash }
}
