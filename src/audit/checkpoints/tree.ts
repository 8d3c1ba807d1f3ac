import type { ObjectStore } from '../../objects/objectStore.ts'
import { type Leaf, leafBytes } from './leaf.ts'
import { readLeaves } from './leaves.ts'
import { MerkleRoot } from './merkle.ts'

/** All leaves that an object lists, and the root of their tree. Without a key: of the empty tree. */
export async function readTree(
  store: Pick<ObjectStore, 'get'>,
  leavesKey: string | undefined,
  signal?: AbortSignal,
): Promise<{ root: string; leaves: Leaf[] }> {
  const tree = new MerkleRoot()
  const all: Leaf[] = []
  if (leavesKey !== undefined)
    for await (const leaves of readLeaves(await store.get(leavesKey, signal)))
      for (const leaf of leaves) {
        tree.add(leafBytes(leaf))
        all.push(leaf)
      }
  return { root: tree.root.toString('hex'), leaves: all }
}
