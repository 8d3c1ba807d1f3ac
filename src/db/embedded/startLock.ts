import { randomUUID } from 'node:crypto'
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { EmbeddedPostgresError } from './error.ts'
import { startTimeOf } from './processes.ts'

/** A slow disk may need half a minute for initdb in another process; after this time the process is stuck. */
const LOCK_WAIT_MS = 90_000
const LOCK_POLL_MS = 25

/**
 * Lets one process at a time check a data directory, create it and start its server. The lock file names its owner
 * (pid and start time), so the lock of a killed process is recognised and taken over. When two processes take over
 * the same dead lock at the same instant, both may continue: then one of them may fail, but Postgres' own pid file
 * still admits only one server.
 */
export async function withStartLock<T>(
  file: string,
  work: () => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const mine = `${process.pid} ${await startTimeOf(process.pid)} ${randomUUID()}`
  const draft = `${file}.${mine.split(' ').at(-1)}`
  try {
    await writeFile(draft, mine)
    await acquire(file, draft, signal)
  } catch (cause) {
    if (cause instanceof EmbeddedPostgresError || signal?.aborted) throw cause
    throw new EmbeddedPostgresError(`cannot write ${file}: ${(cause as Error).message}`, { cause })
  } finally {
    await rm(draft, { force: true })
  }
  try {
    return await work()
  } finally {
    if ((await contentOf(file)) === mine) await rm(file, { force: true })
  }
}

async function acquire(file: string, draft: string, signal?: AbortSignal): Promise<void> {
  const deadline = Date.now() + LOCK_WAIT_MS
  // A link appears with its content, so no process reads a lock without an owner.
  while (!(await linked(draft, file))) {
    signal?.throwIfAborted()
    const owner = await contentOf(file)
    if (owner === undefined) continue
    if (!(await lives(owner))) await discard(file, owner)
    else if (Date.now() > deadline)
      throw new EmbeddedPostgresError(
        `process ${owner.split(' ')[0]} has been starting this Postgres for over ${LOCK_WAIT_MS / 1000} s (lock: ${file})`,
      )
    else await sleep(LOCK_POLL_MS)
  }
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to)
    return true
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw cause
  }
}

async function lives(owner: string): Promise<boolean> {
  const [pid, ...rest] = owner.split(' ')
  const started = await startTimeOf(Number(pid))
  return started !== undefined && started === rest.slice(0, -1).join(' ')
}

/** Moves the dead lock aside; if another process has replaced it since it was read, puts that one back. */
async function discard(file: string, dead: string): Promise<void> {
  const aside = `${file}.${randomUUID()}`
  const moved = await rename(file, aside).then(
    () => true,
    () => false,
  )
  if (!moved) return
  if ((await contentOf(aside)) !== dead) await linked(aside, file)
  await rm(aside, { force: true })
}

function contentOf(file: string): Promise<string | undefined> {
  return readFile(file, 'utf8').catch(() => undefined)
}
