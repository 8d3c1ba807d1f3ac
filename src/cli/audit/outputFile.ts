import { type FileHandle, open, rm } from 'node:fs/promises'
import { type End, ForeignFileError, type Format } from '../../audit/export/format.ts'
import { UsageError } from '../exit.ts'

/** A sink of records, in order. */
export interface Output {
  readonly cursor: End['cursor']
  write(bytes: Buffer): Promise<void>
  /** Resolves once every record is on the disk. */
  close(): Promise<void>
  /** Instead of `close`, after a failure. Resolves with whether --resume can go on; deletes a new file without a record. */
  abandon(): Promise<boolean>
}

/** Opens a new file, or one to resume. The first write cuts off a record that the earlier export left incomplete. */
export async function openOutput(file: string, format: Format, isResumed: boolean): Promise<Output> {
  const opened = await openFile(file, isResumed)
  try {
    const end = opened.isNew ? NOTHING : await endOf(opened.handle, file, format)
    return new FileOutput(opened, end, end.offset === 0 ? format.head : '')
  } catch (error) {
    await opened.handle.close()
    throw error
  }
}

const NOTHING: End = { offset: 0, cursor: undefined }

interface OpenedFile {
  readonly file: string
  readonly handle: FileHandle
  readonly isNew: boolean
}

async function openFile(file: string, isResumed: boolean): Promise<OpenedFile> {
  try {
    return { file, handle: await open(file, isResumed ? 'r+' : 'wx'), isNew: !isResumed }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'EEXIST')
      throw new UsageError(
        `--output ${file} exists already: add --resume to continue it, or name another file`,
      )
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
  readonly #opened: OpenedFile
  readonly #handle: FileHandle
  readonly #head: string
  readonly cursor: End['cursor']
  #offset: number
  #isBegun = false

  /** `head` is written before the first record. */
  constructor(opened: OpenedFile, { offset, cursor }: End, head: string) {
    this.#opened = opened
    this.#handle = opened.handle
    this.#head = head
    this.cursor = cursor
    this.#offset = offset
  }

  async write(bytes: Buffer): Promise<void> {
    await this.#begin()
    await this.#put(bytes)
  }

  async close(): Promise<void> {
    try {
      await this.#begin()
      await this.#handle.sync()
    } finally {
      await this.#handle.close()
    }
  }

  async abandon(): Promise<boolean> {
    await this.#handle.close()
    const { file, isNew } = this.#opened
    const isEmpty = isNew && !this.#isBegun
    if (isEmpty) await rm(file)
    return !isEmpty
  }

  async #begin(): Promise<void> {
    if (this.#isBegun) return
    this.#isBegun = true
    await this.#handle.truncate(this.#offset)
    await this.#put(Buffer.from(this.#head))
  }

  async #put(bytes: Buffer): Promise<void> {
    for (let written = 0; written < bytes.length; ) {
      const { bytesWritten } = await this.#handle.write(bytes, written, bytes.length - written, this.#offset)
      written += bytesWritten
      this.#offset += bytesWritten
    }
  }
}
