import { type FileHandle, open } from 'node:fs/promises'
import { type End, ForeignFileError, type Format } from '../../audit/export/format.ts'
import { UsageError } from '../exit.ts'

/** Where records go, one after the other. */
export interface Output {
  readonly cursor: End['cursor']
  write(bytes: Buffer): Promise<void>
  /** Once all is on the disk. */
  close(): Promise<void>
}

/** A new file; or, to be gone on with, one that may end in the middle of a record, which is then cut off. */
export async function openOutput(file: string, format: Format, isResumed: boolean): Promise<Output> {
  const handle = await openFile(file, isResumed)
  try {
    const { offset, cursor } = isResumed
      ? await endOf(handle, file, format)
      : { offset: 0, cursor: undefined }
    await handle.truncate(offset)
    const output = new FileOutput(handle, offset, cursor)
    if (offset === 0) await output.write(Buffer.from(format.head))
    return output
  } catch (error) {
    await handle.close()
    throw error
  }
}

async function openFile(file: string, isResumed: boolean): Promise<FileHandle> {
  try {
    return await open(file, isResumed ? 'r+' : 'wx')
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'EEXIST')
      throw new UsageError(`--output ${file} is there already: --resume goes on with it, or name another`)
    if (code === 'ENOENT' && isResumed) return openFile(file, false)
    throw new UsageError(`--output ${file}: ${message}`)
  }
}

async function endOf(handle: FileHandle, file: string, format: Format): Promise<End> {
  const { size } = await handle.stat()
  try {
    return await format.findEnd({
      bytes: size,
      read: async (offset, length) => {
        const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, offset)
        return buffer.subarray(0, bytesRead)
      },
    })
  } catch (error) {
    if (error instanceof ForeignFileError) throw new UsageError(`--resume ${file}: ${error.message}`)
    throw error
  }
}

class FileOutput implements Output {
  readonly #handle: FileHandle
  readonly cursor: End['cursor']
  #offset: number

  constructor(handle: FileHandle, offset: number, cursor: End['cursor']) {
    this.#handle = handle
    this.#offset = offset
    this.cursor = cursor
  }

  async write(bytes: Buffer): Promise<void> {
    for (let written = 0; written < bytes.length; ) {
      const { bytesWritten } = await this.#handle.write(bytes, written, bytes.length - written, this.#offset)
      written += bytesWritten
      this.#offset += bytesWritten
    }
  }

  async close(): Promise<void> {
    await this.#handle.sync()
    await this.#handle.close()
  }
}
