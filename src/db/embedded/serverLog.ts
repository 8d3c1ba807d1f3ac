import { open, stat } from 'node:fs/promises'
import path from 'node:path'
import type { Account } from './account.ts'

/** Weeks of a quiet development server; small enough to open in an editor. */
const MAX_LOG_BYTES = 8 * 1024 * 1024
/** The part that remains when the log is cut: enough to see how the last run ended. */
const KEEP_LOG_BYTES = 64 * 1024

export const logFileOf = (dir: string): string => path.join(dir, 'server.log')

/**
 * Cuts the log when it has grown past its bound, at each start and each adoption. This is safe under a running
 * server, which opens the file for appending.
 */
export async function boundLog(dir: string): Promise<void> {
  const { size } = await stat(logFileOf(dir)).catch(() => ({ size: 0 }))
  if (size <= MAX_LOG_BYTES) return
  const kept = await readLog(dir, size - KEEP_LOG_BYTES)
  const log = await open(logFileOf(dir), 'r+')
  try {
    await log.truncate(0)
    await log.write(kept, 0)
  } finally {
    await log.close()
  }
}

/** Opened for appending, and owned by the account of the server. */
export async function openLog(dir: string, account: Account | undefined) {
  const log = await open(logFileOf(dir), 'a', 0o600)
  if (account !== undefined) await log.chown(account.uid, account.gid)
  return log
}

export async function logSize(dir: string): Promise<number> {
  return (await stat(logFileOf(dir)).catch(() => ({ size: 0 }))).size
}

/** The log from `offset` on, at most as much as a person would read. */
export async function readLog(dir: string, offset: number): Promise<string> {
  const log = await open(logFileOf(dir), 'r')
  try {
    const { size } = await log.stat()
    const length = Math.min(size - offset, KEEP_LOG_BYTES)
    if (length <= 0) return ''
    const { buffer, bytesRead } = await log.read(Buffer.alloc(length), 0, length, size - length)
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await log.close()
  }
}
