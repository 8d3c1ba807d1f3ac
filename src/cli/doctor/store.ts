import { randomUUID } from 'node:crypto'
import type { Config } from '../../config.ts'
import type { Db } from '../../db/pool.ts'
import type { ObjectStore } from '../../objects/objectStore.ts'
import { openObjectStore } from '../../objects/open.ts'
import { type Checks, failed, ok, skipped, warning } from './check.ts'

/** Checks cold storage with a probe object: puts it, reads it back, compares, and deletes it. */
export async function* checkStore(archive: Config['archive'], db: Db, hasSchema: boolean): Checks {
  if (archive.s3 === undefined && !hasSchema) {
    yield skipped('store', 'cold storage is a table of the schema, and there is no schema yet')
    return
  }
  const where =
    archive.s3 === undefined ? 'the table starcite.archive_objects' : `the bucket ${archive.s3.bucket}`
  const store = await openObjectStore(archive, db)
  try {
    const key = `doctor/${randomUUID()}`
    const body = Buffer.from(`starcite doctor ${new Date().toISOString()}`)
    try {
      const started = performance.now()
      await store.putNew(key, body)
      const read = await store.get(key)
      if (!read.equals(body)) throw new Error('the probe object was read back different')
      yield ok('store', `${where}: written and read back in ${(performance.now() - started).toFixed(0)} ms`)
    } catch (error) {
      yield failed('store', `${where}: ${(error as Error).message}`, HINT)
      return
    }
    yield await deletes(store, key)
  } finally {
    await store.stop()
  }
}

const HINT =
  'Check STARCITE_S3_ENDPOINT, _BUCKET and _REGION, the keys, and the policy: nodes need GetObject and PutObject on the prefix.'

async function deletes(store: ObjectStore, key: string) {
  try {
    await store.delete(key)
    return ok('store delete', 'the probe object is gone')
  } catch (error) {
    const { message } = error as Error
    return warning(
      'store delete',
      `${key} stays: ${message}`,
      'Only erasure deletes objects. If you do not erase, a policy that denies deletion is right; remove the probe object by hand.',
    )
  }
}
