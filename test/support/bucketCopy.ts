import { mkdir, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { makeScratch } from './scratch.ts'

/** What `aws s3 sync` would leave: every object under its key. `remove` takes it away. */
export async function copyOfBucket(
  objects: ReadonlyMap<string, Buffer>,
): Promise<{ directory: string; remove: () => Promise<void> }> {
  const directory = await makeScratch('bucket')
  for (const [key, body] of objects) {
    const file = path.join(directory, key)
    await mkdir(path.dirname(file), { recursive: true })
    await writeFile(file, body)
  }
  return { directory, remove: () => rm(directory, { recursive: true, force: true }) }
}
