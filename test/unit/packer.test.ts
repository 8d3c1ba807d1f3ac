import { createHash } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import { expect } from 'chai'
import fc from 'fast-check'
import { unpackSlice } from '../../src/archive/slice.ts'
import { RenderedEvent } from '../../src/protocol/event.ts'
import { type Owner, type PackedObject, Packer, type PackerBounds } from '../../src/tiering/copy/packer.ts'

interface Item {
  readonly owner: Owner
  readonly rendered: RenderedEvent
}

/** Incompressible, so that bounds in bytes are met. */
const noise = (seed: string, length: number) =>
  createHash('shake256', { outputLength: Math.ceil(length / 2) })
    .update(seed)
    .digest('hex')

function session(tenantId: string, sid: number, lengths: readonly number[], firstSeq = 1): Item[] {
  const owner = { tenantId, sid: String(sid), sessionId: `session ${sid}` }
  return lengths.map((length, i) => {
    const seq = firstSeq + i
    const text = `{"seq":${seq},"payload":"${noise(`${sid}/${seq}`, length)}"}`
    return { owner, rendered: new RenderedEvent(seq, text) }
  })
}

async function pack(items: readonly Item[], bounds?: PackerBounds): Promise<PackedObject[]> {
  const objects: PackedObject[] = []
  const packer = new Packer(async (object) => void objects.push(object), bounds)
  for (const { owner, rendered } of items)
    await packer.add(owner, { rendered, salt: null, contentDigest: '00', hash: '11', chainVersion: 2 })
  await packer.finish()
  return objects
}

/** The events of objects, in the order in which they lie there. */
async function unpack(
  objects: readonly PackedObject[],
): Promise<{ tenantId: string; sid: string; text: string }[]> {
  const events = []
  for (const { tenantId, body, slices } of objects)
    for (const { sid, firstSeq, lastSeq, offset, bytes } of slices)
      for (const { text } of await unpackSlice(body.subarray(offset, offset + bytes), firstSeq, lastSeq))
        events.push({ tenantId, sid, text })
  return events
}

const SMALL: PackerBounds = { sliceEvents: 5, sliceCharacters: 1500, objectBytes: 2500 }

/** Sessions of one or several tenants, ordered as a segment is read. */
const segment = fc
  .array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.array(fc.nat(900), { minLength: 1, maxLength: 14 })), {
    minLength: 1,
    maxLength: 10,
  })
  .map((sessions) =>
    sessions
      .sort(([a], [b]) => (a < b ? -1 : Number(a > b)))
      .flatMap(([tenant, lengths], i) => session(tenant, i, lengths, 3 * i + 1)),
  )

describe('the packer', () => {
  it('packs every event once, in order, tenants apart, within its bounds', async () => {
    await fc.assert(
      fc.asyncProperty(segment, async (items) => {
        const objects = await pack(items, SMALL)

        expect(await unpack(objects)).to.deep.equal(
          items.map(({ owner, rendered }) => ({
            tenantId: owner.tenantId,
            sid: owner.sid,
            text: rendered.text,
          })),
        )
        for (const { body, slices, sha256, events } of objects) {
          expect(createHash('sha256').update(body).digest()).to.deep.equal(sha256)
          let offset = 0
          for (const slice of slices) {
            expect(slice.offset).to.equal(offset)
            offset += slice.bytes
            const member = body.subarray(slice.offset, offset)
            expect(createHash('sha256').update(member).digest()).to.deep.equal(slice.sha256)
            const count = slice.lastSeq - slice.firstSeq + 1
            expect(count).to.be.within(1, SMALL.sliceEvents)
            if (count > 1) expect(gunzipSync(member).length).to.be.at.most(SMALL.sliceCharacters)
          }
          expect(offset).to.equal(body.length)
          expect(body.length - (slices.at(-1)?.bytes ?? 0)).to.be.below(SMALL.objectBytes)
          expect(slices.reduce((sum, slice) => sum + slice.lastSeq - slice.firstSeq + 1, 0)).to.equal(events)
        }
      }),
      { numRuns: 100 },
    )
  })

  it('makes the same objects again, also when it begins behind any of them', async () => {
    await fc.assert(
      fc.asyncProperty(segment, async (items) => {
        const objects = await pack(items, SMALL)
        const digests = objects.map(({ sha256 }) => sha256.toString('hex'))

        for (let done = 0, events = 0; done < objects.length; done += 1) {
          const again = await pack(items.slice(events), SMALL)
          expect(again.map(({ sha256 }) => sha256.toString('hex'))).to.deep.equal(digests.slice(done))
          events += objects[done]?.events ?? 0
        }
      }),
      { numRuns: 30 },
    )
  })

  it('fills its objects: no more than needed for each tenant', async () => {
    const objects = await pack(session('a', 1, Array(100).fill(400)), SMALL)

    for (const { body } of objects.slice(0, -1)) expect(body.length).to.be.at.least(SMALL.objectBytes)
  })

  it('takes an event that is larger than its bounds, alone in its slice', async () => {
    const objects = await pack(session('a', 1, [10, 10_000, 10]), SMALL)

    expect(
      objects.flatMap(({ slices }) => slices.map((slice) => [slice.firstSeq, slice.lastSeq])),
    ).to.deep.equal([
      [1, 1],
      [2, 2],
      [3, 3],
    ])
  })

  it('has no slice with a gap', async () => {
    const items = session('a', 1, Array(10).fill(10)).filter((_, i) => i !== 3)

    const objects = await pack(items, SMALL)

    expect(
      objects.flatMap(({ slices }) => slices.map((slice) => [slice.firstSeq, slice.lastSeq])),
    ).to.deep.equal([
      [1, 3],
      [5, 9],
      [10, 10],
    ])
  })

  it('packs of a slice what the check lets pass, then no more of that session, and all of the others', async () => {
    const items = [1, 2, 3].flatMap((sid) => session('a', sid, Array(12).fill(10)))
    const checked: string[] = []
    const objects: PackedObject[] = []
    const packer = new Packer(
      async (object) => void objects.push(object),
      SMALL,
      async ({ sid }, { firstSeq, text, hashes }) => {
        expect(text.toString().split('\n')).to.have.lengthOf(hashes.length + 1)
        checked.push(`${sid}/${firstSeq}`)
        return sid === '2' && firstSeq === 6 ? 2 : hashes.length
      },
    )

    for (const { owner, rendered } of items)
      await packer.add(owner, {
        rendered,
        salt: null,
        contentDigest: '00',
        hash: `of ${rendered.seq}`,
        chainVersion: 2,
      })
    await packer.finish()

    expect((await unpack(objects)).filter(({ sid }) => sid === '2')).to.have.lengthOf(7)
    expect(await unpack(objects)).to.have.lengthOf(12 + 7 + 12)
    expect(checked).to.deep.equal(['1/1', '1/6', '1/11', '2/1', '2/6', '3/1', '3/6', '3/11'])
    expect(
      objects.flatMap(({ slices }) => slices).map(({ sid, lastSeq, lastHash }) => [sid, lastSeq, lastHash]),
    ).to.deep.include(['2', 7, 'of 7'])
  })

  it('waits while an object cannot be taken, and fails when it is refused', async () => {
    const refused = new Error('refused')
    const packer = new Packer(() => Promise.reject(refused), SMALL)
    const items = session('a', 1, Array(100).fill(400))

    const outcome = await (async () => {
      for (const { owner, rendered } of items)
        await packer.add(owner, { rendered, salt: null, contentDigest: '00', hash: '11', chainVersion: 2 })
    })().catch((error: Error) => error)

    expect(outcome).to.equal(refused)
  })

  it('makes nothing of nothing', async () => {
    expect(await pack([])).to.deep.equal([])
  })
})
