import { randomBytes, randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { type ObjectStore, ObjectStoreError, type ObjectStoreFault } from '../../src/objects/objectStore.ts'

const MB = 1024 * 1024

/** What a failed call came to. */
export async function faultOf(call: Promise<unknown>): Promise<ObjectStoreFault> {
  try {
    await call
  } catch (error) {
    if (error instanceof ObjectStoreError) return error.kind
    throw error
  }
  throw new Error('the call succeeded')
}

export async function listed(store: ObjectStore, prefix: string): Promise<Record<string, number>> {
  const found: [string, number][] = []
  for await (const { key, bytes } of store.list(prefix)) found.push([key, bytes])
  const byKey = Object.fromEntries(found)
  expect(Object.keys(byKey)).to.have.lengthOf(found.length, 'a key was listed twice')
  return byKey
}

/**
 * What every object store does. `open` gives a store of its own each time, on one and the same place; each test keeps
 * to keys of its own. `pageKeys` is how many objects the store lists at a time.
 */
export function objectStoreContract(
  name: string,
  open: () => Promise<ObjectStore>,
  { pageKeys = 1000 }: { pageKeys?: number } = {},
): void {
  describe(`object store: ${name}`, () => {
    let store: ObjectStore
    /** A folder that no other test has. */
    let folder: string

    beforeEach(async () => {
      store = await open()
      folder = `contract/${randomUUID()}`
    })

    afterEach(async function () {
      this.timeout(120_000) // one test leaves more than a thousand
      const keys: string[] = []
      for await (const { key } of store.list(folder)) keys.push(key)
      while (keys.length > 0) await Promise.all(keys.splice(0, 20).map((key) => store.delete(key)))
      await store.stop()
    })

    it('gives back what was put, byte for byte', async () => {
      const body = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))

      expect(await store.putNew(`${folder}/a`, body)).to.equal('created')

      expect((await store.get(`${folder}/a`)).equals(body)).to.equal(true)
    })

    it('takes an empty object', async () => {
      await store.putNew(`${folder}/empty`, Buffer.alloc(0))

      expect(await store.get(`${folder}/empty`)).to.have.lengthOf(0)
      expect(await listed(store, folder)).to.deep.equal({ [`${folder}/empty`]: 0 })
    })

    it('never overwrites: the second writer gets the outcome "exists"', async () => {
      await store.putNew(`${folder}/k`, Buffer.from('first'))

      expect(await store.putNew(`${folder}/k`, Buffer.from('second'))).to.equal('exists')
      expect(await store.putNew(`${folder}/k`, Buffer.from('first'))).to.equal('exists')

      expect((await store.get(`${folder}/k`)).toString()).to.equal('first')
    })

    it('lets exactly one of several writers at once create the object', async () => {
      const other = await open()
      const writers = Array.from({ length: 8 }, (_, n) => ({
        store: n % 2 ? other : store,
        body: `writer ${n}`,
      }))

      const outcomes = await Promise.all(
        writers.map((writer) => writer.store.putNew(`${folder}/k`, Buffer.from(writer.body))),
      )

      await other.stop()
      expect(outcomes.filter((outcome) => outcome === 'created')).to.have.lengthOf(1)
      expect((await store.get(`${folder}/k`)).toString()).to.equal(
        writers[outcomes.indexOf('created')]?.body,
        'what is there is what the creator wrote',
      )
    })

    it('reads ranges: at the start, in the middle, up to the last byte, and all of it', async () => {
      const body = randomBytes(3 * MB)
      await store.putNew(`${folder}/r`, body)
      const ranges = [
        [0, 1],
        [0, 1000],
        [MB - 1, 2],
        [1_234_567, 1_345_678],
        [3 * MB - 1, 1],
        [0, 3 * MB],
      ] as const

      for (const [offset, length] of ranges) {
        const bytes = await store.getRange(`${folder}/r`, offset, length)
        expect(bytes.equals(body.subarray(offset, offset + length)), `${length} from ${offset}`).to.equal(
          true,
        )
      }
    })

    it('calls an object damaged that ends before the range does, or before it begins', async () => {
      await store.putNew(`${folder}/short`, Buffer.from('0123456789'))

      expect(await faultOf(store.getRange(`${folder}/short`, 5, 6))).to.equal('damaged')
      expect(await faultOf(store.getRange(`${folder}/short`, 10, 1))).to.equal('damaged')
      expect(await faultOf(store.getRange(`${folder}/short`, 5000, 10))).to.equal('damaged')
    })

    it('says of an object that is not there that it is missing, and names it', async () => {
      expect(await faultOf(store.get(`${folder}/nothing`))).to.equal('missing')
      expect(await faultOf(store.getRange(`${folder}/nothing`, 0, 10))).to.equal('missing')
      expect(await store.get(`${folder}/nothing`).catch((error) => error.message)).to.include(
        `${folder}/nothing`,
      )
    })

    it('deletes, as often as it is asked to', async () => {
      await store.putNew(`${folder}/d`, Buffer.from('x'))

      await store.delete(`${folder}/d`)
      await store.delete(`${folder}/d`)

      expect(await faultOf(store.get(`${folder}/d`))).to.equal('missing')
      expect(await listed(store, folder)).to.deep.equal({})
      expect(await store.putNew(`${folder}/d`, Buffer.from('again'))).to.equal('created')
    })

    it('lists what begins with the prefix, and nothing else', async () => {
      for (const key of ['a/1', 'a/2', 'a/b/3', 'ab/4', 'b/5'])
        await store.putNew(`${folder}/${key}`, Buffer.alloc(key.length))

      expect(await listed(store, `${folder}/a/`)).to.deep.equal({
        [`${folder}/a/1`]: 3,
        [`${folder}/a/2`]: 3,
        [`${folder}/a/b/3`]: 5,
      })
      expect(Object.keys(await listed(store, `${folder}/a`))).to.have.lengthOf(4)
      expect(await listed(store, `${folder}/nothing/`)).to.deep.equal({})
    })

    it('lists more objects than fit one page, each once', async () => {
      const keys = Array.from({ length: pageKeys + 100 }, (_, n) => `${folder}/${String(n).padStart(5, '0')}`)
      for (let n = 0; n < keys.length; n += 20)
        await Promise.all(keys.slice(n, n + 20).map((key) => store.putNew(key, Buffer.from('x'))))

      expect(Object.keys(await listed(store, folder)).sort()).to.deep.equal(keys)
    }).timeout(60_000)

    it('takes any printable key', async () => {
      const names = ['tenant=a b', 'ü+%25', '日本語', "!*'();:@&=$,?#[]", '100%', 'a\\b"<>`{|}~^', '😀']
      for (const name of names) await store.putNew(`${folder}/${name}/x.gz`, Buffer.from(name))

      for (const name of names) expect((await store.get(`${folder}/${name}/x.gz`)).toString()).to.equal(name)
      expect(Object.keys(await listed(store, `${folder}/`))).to.have.members(
        names.map((name) => `${folder}/${name}/x.gz`),
      )
    })

    it('takes an object of 16 MB', async () => {
      const body = randomBytes(16 * MB)

      expect(await store.putNew(`${folder}/large`, body)).to.equal('created')

      expect((await store.get(`${folder}/large`)).equals(body)).to.equal(true)
      const slice = await store.getRange(`${folder}/large`, 8 * MB + 17, 65_536)
      expect(slice.equals(body.subarray(8 * MB + 17, 8 * MB + 17 + 65_536))).to.equal(true)
    }).timeout(60_000)

    it('rejects an aborted call with the reason of its signal', async () => {
      const reason = new Error('the caller has given up')
      const signal = AbortSignal.abort(reason)
      const under = new AbortController()
      await store.putNew(`${folder}/k`, randomBytes(MB))

      const calls = [
        () => store.putNew(`${folder}/never`, Buffer.from('x'), signal),
        () => store.get(`${folder}/k`, signal),
        () => store.getRange(`${folder}/k`, 0, 1, signal),
        () => store.delete(`${folder}/k`, signal),
        async () => {
          for await (const _ of store.list(folder, signal));
        },
      ]
      for (const call of calls) expect(await call().catch((error) => error)).to.equal(reason)
      const underWay = store.get(`${folder}/k`, under.signal).catch((error) => error)
      under.abort(reason)

      expect(await underWay).to.equal(reason)
      expect(await listed(store, folder)).to.deep.equal({ [`${folder}/k`]: MB })
    })

    it('settles calls under way when it stops, refuses later ones, and may be stopped twice', async () => {
      const stopping = await open()
      await stopping.putNew(`${folder}/k`, randomBytes(MB))

      const underWay = faultOf(stopping.get(`${folder}/k`))
      await stopping.stop()
      await stopping.stop()

      expect(await underWay).to.equal('unavailable')
      expect(await faultOf(stopping.get(`${folder}/k`))).to.equal('unavailable')
      expect(await faultOf(stopping.putNew(`${folder}/other`, Buffer.from('x')))).to.equal('unavailable')
    })
  })
}
