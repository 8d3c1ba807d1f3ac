import { once } from 'node:events'
import type { Output } from './outputFile.ts'

/** Standard output as an output of records, after a heading. An empty one still has its heading. */
export function toStdout(head: string): Output {
  const write = async (bytes: Buffer | string) => {
    if (bytes.length > 0 && !process.stdout.write(bytes)) await once(process.stdout, 'drain')
  }
  let isBegun = false
  const begin = async () => {
    if (!isBegun) await write(head)
    isBegun = true
  }
  return {
    cursor: undefined,
    write: async (bytes) => {
      await begin()
      await write(bytes)
    },
    close: begin,
    abandon: async () => false,
  }
}
