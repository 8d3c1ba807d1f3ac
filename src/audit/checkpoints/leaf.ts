import { lengthPrefixed } from '../../archive/chain.ts'

/** Where the log of one session ended: what one leaf of a checkpoint's Merkle tree says. */
export interface Leaf {
  readonly tenantId: string
  readonly sessionId: string
  readonly seq: number
  /** The hash of that event, in lower-case hexadecimal. */
  readonly hash: string
  /** The log does not continue what an earlier checkpoint signed, and an operator has acknowledged that. */
  readonly discontinuity?: Discontinuity
}

/** What a log does not continue: where it ended by an earlier checkpoint, and what the operator says happened. */
export interface Discontinuity {
  /** Of that checkpoint. */
  readonly number: number
  readonly seq: number
  readonly hash: string
  readonly reason: string
}

/** What is hashed into the tree: four values, and four more of a discontinuity, each self-delimiting. */
export const leafBytes = ({ tenantId, sessionId, seq, hash, discontinuity: after }: Leaf): Buffer =>
  Buffer.from(
    [tenantId, sessionId, seq, hash, ...(after ? [after.number, after.seq, after.hash, after.reason] : [])]
      .map(lengthPrefixed)
      .join(''),
  )

/** One line of the object that lists a checkpoint's leaves, in the order of the tree; with its line feed. */
export const leafLine = ({ tenantId, sessionId, seq, hash, discontinuity }: Leaf): string =>
  `{"tenant_id":${JSON.stringify(tenantId)},"session_id":${JSON.stringify(sessionId)},"seq":${seq},"hash":"${hash}"` +
  `${discontinuity ? `,"discontinuity":${discontinuityJson(discontinuity)}` : ''}}\n`

const discontinuityJson = ({ number, seq, hash, reason }: Discontinuity) =>
  `{"number":${number},"seq":${seq},"hash":"${hash}","reason":${JSON.stringify(reason)}}`

/** Throws when the line is not one that leafLine makes. */
export function parseLeafLine(line: string): Leaf {
  const { tenant_id, session_id, seq, hash, discontinuity } = JSON.parse(line) as Record<string, unknown>
  if (
    typeof tenant_id !== 'string' ||
    typeof session_id !== 'string' ||
    typeof seq !== 'number' ||
    typeof hash !== 'string' ||
    !(discontinuity === undefined || isDiscontinuity(discontinuity))
  )
    throw new Error(`not a leaf of a checkpoint: ${line.slice(0, 200)}`)
  return { tenantId: tenant_id, sessionId: session_id, seq, hash, ...(discontinuity && { discontinuity }) }
}

function isDiscontinuity(value: unknown): value is Discontinuity {
  const { number, seq, hash, reason } = (value ?? {}) as Record<string, unknown>
  return (
    typeof number === 'number' &&
    typeof seq === 'number' &&
    typeof hash === 'string' &&
    typeof reason === 'string'
  )
}
