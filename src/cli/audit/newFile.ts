import { writeFile } from 'node:fs/promises'
import { UsageError } from '../exit.ts'

/** Writes a new file, which `option` names. Rejects with a UsageError when it exists already, or cannot be written. */
export async function writeNewFile(option: string, file: string, text: string, mode?: number): Promise<void> {
  try {
    await writeFile(file, text, { flag: 'wx', ...(mode !== undefined && { mode }) })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new UsageError(
      `${option} ${file}${code === 'EEXIST' ? ' exists already: name another file' : `: ${message}`}`,
    )
  }
}
