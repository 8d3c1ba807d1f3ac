import type { Db } from '../db/pool.ts'
import type { StoredObject } from './objectStore.ts'

const CREATE = {
  name: 'create_archive_object',
  text: `insert into starcite.archive_objects as a (key, body) values ($1, $2)
         on conflict (key) do nothing
         returning a.key`,
}

/** False when an object of that key exists. */
export async function createObject(db: Db, key: string, body: Buffer): Promise<boolean> {
  const rows = await db.query(CREATE, [key, body])
  return rows.length > 0
}

// base64 is half as long again as the bytes; bytea's own text is twice as long. It is also quicker to decode.
const READ = {
  name: 'read_archive_object',
  text: `select octet_length(a.body), encode(substring(a.body from $2::int + 1 for $3::int), 'base64')
           from starcite.archive_objects a
          where a.key = $1`,
}

/** Up to `length` bytes from `offset`, and the object's size; undefined when there is no such object. */
export async function readObject(
  db: Db,
  key: string,
  offset: number,
  length: number,
): Promise<{ total: number; bytes: Buffer } | undefined> {
  const [row] = await db.query(READ, [key, offset, length])
  if (row === undefined) return undefined
  return { total: Number(row[0]), bytes: Buffer.from(row[1] ?? '', 'base64') }
}

const DELETE = {
  name: 'delete_archive_object',
  text: 'delete from starcite.archive_objects a where a.key = $1',
}

export async function deleteObject(db: Db, key: string): Promise<void> {
  await db.query(DELETE, [key])
}

// In the collation "C", every key that begins with the prefix is between the prefix and the prefix followed by the
// last code point.
const LIST = {
  name: 'list_archive_objects',
  text: `select a.key, octet_length(a.body)
           from starcite.archive_objects a
          where a.key >= $1 and a.key < $1 || chr(1114111) and a.key > $2
          order by a.key
          limit $3`,
}

/** The next objects whose keys begin with `prefix`, after the key `after`. */
export async function listObjects(
  db: Db,
  prefix: string,
  after: string,
  limit: number,
): Promise<StoredObject[]> {
  const rows = await db.query(LIST, [prefix, after, limit])
  return rows.map(([key, bytes]) => ({ key: key as string, bytes: Number(bytes) }))
}
