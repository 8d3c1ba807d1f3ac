import { setTimeout as sleep } from 'node:timers/promises'
import { residentBytes } from '../cpu.ts'
import type { Lab } from '../lab.ts'
import type { Row } from './case.ts'

const TAILS = 5000
/** Opened and closed before counting, so that code and pools of the node are already in memory. */
const WARM_UP_TAILS = 200
const TOPICS_PER_SOCKET = 200

interface MemoryCase {
  readonly id: string
  readonly group: 'memory'
  readonly name: string
  readonly over: 'websocket' | 'sse' | 'socket'
}

export const MEMORY: readonly MemoryCase[] = [
  { id: 'idle-tails', group: 'memory', name: 'memory of an idle tail, of 5,000', over: 'websocket' },
  { id: 'idle-streams', group: 'memory', name: 'the same as an event stream', over: 'sse' },
  { id: 'idle-topics', group: 'memory', name: 'the same, 200 on a socket', over: 'socket' },
]

/** What an open tail costs a node that does nothing else: each on a session of its own, the dearest case. */
export async function memoryRow(lab: Lab, { over, ...it }: MemoryCase): Promise<Row | undefined> {
  const [node, tails] = [await lab.node(`fresh for ${over}`), await lab.tails()]
  const sessions = await lab.sessions('idle', TAILS)
  const open = (count: number) => {
    const set = { port: node.port, sessions: sessions.slice(0, count) }
    return over === 'socket'
      ? tails.call('openTopics', { ...set, perSocket: TOPICS_PER_SOCKET })
      : tails.call('open', { ...set, perSession: 1, over })
  }

  await open(WARM_UP_TAILS)
  await tails.call('close', undefined as never)
  const before = await settled(node.pid)
  await open(TAILS)
  const after = await settled(node.pid)
  await tails.call('close', undefined as never)
  await node.stop()
  if (before === undefined || after === undefined) return undefined

  const note = `${it.name}: the node's resident memory went from ${megabytes(before)} to ${megabytes(after)}`
  return { ...it, unit: 'KB', value: (after - before) / TAILS / 1024, note }
}

/** The operating system tells of no change of this figure: look until five readings agree within a megabyte. */
async function settled(pid: number): Promise<number | undefined> {
  const last: number[] = []
  for (let looks = 0; looks < 50; looks++) {
    const bytes = await residentBytes(pid)
    if (bytes === undefined) return undefined
    last.push(bytes)
    const recent = last.slice(-5)
    if (recent.length === 5 && Math.max(...recent) - Math.min(...recent) < 1024 ** 2) break
    await sleep(200)
  }
  return last.at(-1)
}

const megabytes = (bytes: number) => `${Math.round(bytes / 1024 ** 2)} MB`
