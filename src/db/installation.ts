import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { SQL_OBJECTS } from './functions.ts'

const SQL_DIRECTORY = new URL('../../sql/', import.meta.url)
/** Committed beside the files: their number, which only grows, and the digest of the content that has it. */
export const STAMP_FILE = new URL('installation.json', SQL_DIRECTORY)

export interface SqlObject {
  readonly name: string
  readonly text: string
  /** SHA-256 of the text, in hex. */
  readonly hash: string
}

/** What this build installs: the files of sql/, as a whole, and their number. */
export interface Installation {
  readonly number: number
  readonly objects: readonly SqlObject[]
}

export interface Stamp {
  readonly number: number
  readonly digest: string
}

/** The position of the statement that creates the object of this name in SQL_OBJECTS. */
export function sqlFile(name: string): URL {
  return new URL(`${name.replace('.', '/')}.sql`, SQL_DIRECTORY)
}

export async function readInstallation(): Promise<Installation> {
  const { number } = await readStamp()
  return { number, objects: await readObjects() }
}

export async function readStamp(): Promise<Stamp> {
  return JSON.parse(await readFile(STAMP_FILE, 'utf8')) as Stamp
}

/** The stamp that the files should have: unchanged files keep theirs, others get the next number. */
export async function nextStamp(stamp: Stamp): Promise<Stamp> {
  const digest = digestOf(await readObjects())
  return digest === stamp.digest ? stamp : { number: stamp.number + 1, digest }
}

function readObjects(): Promise<SqlObject[]> {
  return Promise.all(
    SQL_OBJECTS.map(async (name) => {
      const text = await readFile(sqlFile(name), 'utf8')
      return { name, text, hash: sha256(text) }
    }),
  )
}

/** The digest of all files, in the order of SQL_OBJECTS. */
function digestOf(objects: readonly SqlObject[]): string {
  return sha256(objects.map(({ name, hash }) => `${name} ${hash}\n`).join(''))
}

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
