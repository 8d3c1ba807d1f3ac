import { type Leaf, leafBytes } from './leaf.ts'
import { readLeaves } from './leaves.ts'
import { MerkleRoot } from './merkle.ts'

/** All leaves that an object lists, and the root of their tree; without an object, the empty tree. */
export async function treeOf(object: Buffer | undefined): Promise<{ root: string; leaves: Leaf[] }> {
  const tree = new MerkleRoot()
  const all: Leaf[] = []
  if (object !== undefined)
    for await (const leaves of readLeaves(object))
      for (const leaf of leaves) {
        tree.add(leafBytes(leaf))
        all.push(leaf)
      }
  return { root: tree.root.toString('hex'), leaves: all }
}
