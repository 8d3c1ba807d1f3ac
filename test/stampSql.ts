/**
 * Gives sql/ the next number if its content is no longer the one that the last number was given to. Run it after each
 * change and each merge of sql/: a test fails until it was.
 */

import { writeFile } from 'node:fs/promises'
import { nextStamp, readStamp, STAMP_FILE } from '../src/db/installation.ts'

const stamp = await readStamp()
const next = await nextStamp(stamp)
if (next.number !== stamp.number) {
  await writeFile(STAMP_FILE, `${JSON.stringify(next, null, 2)}\n`)
  process.stdout.write(`sql/ is number ${next.number} now\n`)
}
