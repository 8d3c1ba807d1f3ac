import { expect } from 'chai'
import { inclusionPath, leafHash, MerkleRoot, rootOfPath } from '../../src/audit/checkpoints/merkle.ts'
import { merkleRoot } from '../support/checkpoints.ts'

const leavesOf = (size: number) => Array.from({ length: size }, (_, i) => Buffer.from(`leaf ${i}`))

describe('a Merkle tree', () => {
  it('has the root that RFC 6962 defines, for every size', () => {
    for (let size = 0; size <= 70; size += 1) {
      const tree = new MerkleRoot()
      for (const leaf of leavesOf(size)) tree.add(leaf)

      expect(tree.root.toString('hex'), `${size} leaves`).to.equal(merkleRoot(leavesOf(size)).toString('hex'))
    }
  })

  it('has the roots of the test vectors of Certificate Transparency', () => {
    const vectors = [
      '',
      '00',
      '10',
      '2021',
      '3031',
      '40414243',
      '5051525354555657',
      '606162636465666768696a6b6c6d6e6f',
    ]
    const tree = new MerkleRoot()
    for (const leaf of vectors) tree.add(Buffer.from(leaf, 'hex'))

    expect(tree.root.toString('hex')).to.equal(
      '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
    )
  })

  it('leads from each leaf to the root, and from no other leaf, index, size or path', () => {
    for (const size of [1, 2, 3, 4, 5, 7, 8, 13, 33]) {
      const leaves = leavesOf(size)
      const root = merkleRoot(leaves).toString('hex')
      const leads = (leaf: Buffer, index: number, of: number, path: readonly Buffer[]) =>
        rootOfPath(leaf, index, of, path)?.toString('hex') === root
      for (const [index, leaf] of leaves.entries()) {
        const path = inclusionPath(leaves.map(leafHash), index)

        expect(leads(leaf, index, size, path), `${index} of ${size}`).to.equal(true)
        expect(leads(Buffer.from('other'), index, size, path)).to.equal(false)
        expect(leads(leaf, index + 1, size, path)).to.equal(false)
        expect(leads(leaf, index, 2 * size + 1, path)).to.equal(false)
        expect(leads(leaf, index, size, [...path, Buffer.alloc(32)])).to.equal(false)
        if (path.length > 0) expect(leads(leaf, index, size, path.slice(1))).to.equal(false)
      }
    }
  })
})
