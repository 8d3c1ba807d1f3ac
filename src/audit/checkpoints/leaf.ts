import { lengthPrefixed } from '../../archive/chain.ts'

/** The content of one leaf of a checkpoint's Merkle tree: where the log of one session ended. */
export interface Leaf {
  readonly tenantId: string
  readonly sessionId: string
  readonly seq: number
  /** The hash of that event, in lower-case hex. */
  readonly hash: string
  /**
   * Present when the log does not continue what an earlier checkpoint signed, and an operator has acknowledged that.
   */
  readonly discontinuity?: Discontinuity
}

/** Where a log ended by an earlier checkpoint which it does not continue, and the operator's reason. */
export interface Discontinuity {
  /** The number of that checkpoint. */
  readonly number: number
  readonly seq: number
  readonly hash: string
  readonly reason: string
}

/** The bytes that are hashed into the tree: four values, and four more of a discontinuity, each length-prefixed. */
export const leafBytes = ({ tenantId, sessionId, seq, hash, discontinuity: after }: Leaf): Buffer =>
  Buffer.from(
    [tenantId, sessionId, seq, hash, ...(after ? [after.number, after.seq, after.hash, after.reason] : [])]
      .map(lengthPrefixed)
      .join(''),
  )

/** One line of the object that lists a checkpoint's leaves, with its line feed. Lines have the order of the tree. */
export const leafLine = ({ tenantId, sessionId, seq, hash, discontinuity }: Leaf): string =>
  `{"tenant_id":${JSON.stringify(tenantId)},"session_id":${JSON.stringify(sessionId)},"seq":${seq},"hash":"${hash}"` +
  `${discontinuity ? `,"discontinuity":${discontinuityJson(discontinuity)}` : ''}}\n`

const discontinuityJson = ({ number, seq, hash, reason }: Discontinuity) =>
  `{"number":${number},"seq":${seq},"hash":"${hash}","reason":${JSON.stringify(reason)}}`

/** Throws when leafLine would not write the line. */
export function parseLeafLine(line: string): Leaf {
  const { tenant_id, session_id, seq, hash, discontinuity } = JSON.parse(line) as Record<string, unknown>
  if (
    typeof tenant_id !== 'string' ||
    typeof session_id !== 'string' ||
    typeof seq !== 'number' ||
    typeof hash !== 'string' ||
    !(discontinuity === undefined || isDiscontinuity(discontinuity))
  )
    throw new Error(`the line is not a leaf of a checkpoint: ${line.slice(0, 200)}`)
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
