import type { Config } from '../config.ts'
import type { Db } from '../db/pool.ts'
import type { ObjectStore } from './objectStore.ts'
import { PostgresStore } from './postgresStore.ts'

/** Opens the store of the configuration. The SDK for S3 is large, so only a node with a bucket loads it. */
export async function openObjectStore(archive: Config['archive'], db: Db): Promise<ObjectStore> {
  if (archive.s3 === undefined) return new PostgresStore(db)
  const { S3Store } = await import('./s3Store.ts')
  return new S3Store(archive.s3)
}
