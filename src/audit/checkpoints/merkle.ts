import { hash } from 'node:crypto'

/** Merkle trees as in RFC 6962, section 2.1. Hashes are 32 bytes; leaves are counted from 0. */

const LEAF = Buffer.of(0x00)
const NODE = Buffer.of(0x01)

const sha256 = (bytes: Buffer): Buffer => hash('sha256', bytes, 'buffer')

export const leafHash = (leaf: Buffer): Buffer => sha256(Buffer.concat([LEAF, leaf]))
const nodeHash = (left: Buffer, right: Buffer): Buffer => sha256(Buffer.concat([NODE, left, right]))

/** Computes the root of a tree whose leaves come one after the other. It keeps one hash for each level. */
export class MerkleRoot {
  /** The roots of whole subtrees, the largest first: one for each bit that is set in `size`. */
  readonly #subtrees: Buffer[] = []
  #size = 0

  get size(): number {
    return this.#size
  }

  add(leaf: Buffer): void {
    let node = leafHash(leaf)
    for (let bits = this.#size; bits % 2 === 1; bits = (bits - 1) / 2)
      node = nodeHash(this.#subtrees.pop() as Buffer, node)
    this.#subtrees.push(node)
    this.#size += 1
  }

  /** The root of the leaves so far; without leaves, the digest of nothing. */
  get root(): Buffer {
    if (this.#size === 0) return sha256(Buffer.alloc(0))
    return this.#subtrees.reduceRight((right, left) => nodeHash(left, right))
  }
}

/** The hashes that lead from a leaf to the root, starting at the leaf; `leafHashes` is not empty. */
export function inclusionPath(leafHashes: readonly Buffer[], index: number): Buffer[] {
  const path: Buffer[] = []
  let level = leafHashes
  for (let at = index; level.length > 1; at = Math.floor(at / 2)) {
    const sibling = level[at % 2 === 0 ? at + 1 : at - 1]
    if (sibling) path.push(sibling)
    const above: Buffer[] = []
    for (let i = 0; i < level.length; i += 2) {
      const [left, right] = [level[i] as Buffer, level[i + 1]]
      above.push(right ? nodeHash(left, right) : left)
    }
    level = above
  }
  return path
}

/** The root that a leaf of a tree of this size leads to by this path; undefined when the path does not fit. */
export function rootOfPath(
  leaf: Buffer,
  index: number,
  size: number,
  path: readonly Buffer[],
): Buffer | undefined {
  if (!(Number.isSafeInteger(index) && index >= 0 && index < size)) return undefined
  let node = leafHash(leaf)
  let used = 0
  for (let [at, last] = [index, size - 1]; last > 0; at = Math.floor(at / 2), last = Math.floor(last / 2)) {
    if (at === last && at % 2 === 0) continue // without a sibling, the node moves up unchanged
    const sibling = path[used]
    if (sibling === undefined) return undefined
    node = at % 2 === 0 ? nodeHash(node, sibling) : nodeHash(sibling, node)
    used += 1
  }
  return used === path.length ? node : undefined
}
