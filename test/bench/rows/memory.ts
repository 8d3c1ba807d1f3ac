import { setTimeout as sleep } from 'node:timers/promises'
import type { Lab } from '../lab.ts'
import type { StarciteNode } from '../node.ts'
import type { Row } from './case.ts'

const TAILS = 5000
/**
 * Opened and closed before counting, so often that code and pools of the node are in memory, and that the part of V8's
 * heap where objects begin has the size that it keeps: it grows by 20 MB with use, regardless of the row.
 */
const WARM_UP_TAILS = 200
const WARM_UP_ROUNDS = 25
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

/**
 * What an open tail costs a node that does nothing else: each on a session of its own, the dearest case. Counted is what
 * the heap holds without garbage: resident memory shows how the heap grows, too, which varies by several KB a tail.
 */
export async function memoryRow(lab: Lab, { over, ...memoryCase }: MemoryCase): Promise<Row> {
  const [node, tails] = [await lab.nodeForMemory(over), await lab.tails()]
  const sessions = await lab.sessions('idle', TAILS)
  const open = (count: number) => {
    const set = { port: node.port, sessions: sessions.slice(0, count) }
    return over === 'socket'
      ? tails.call('openTopics', { ...set, perSocket: TOPICS_PER_SOCKET })
      : tails.call('open', { ...set, perSession: 1, over })
  }

  for (let round = 0; round < WARM_UP_ROUNDS; round += 1) {
    await open(WARM_UP_TAILS)
    await tails.call('close', undefined as never)
  }
  const before = await settled(node)
  await open(TAILS)
  const after = await settled(node)
  await tails.call('close', undefined as never)
  await node.stop()

  const note = `${memoryCase.name}, on the heap; the node's resident memory went from ${megabytes(before.rss)} to ${megabytes(after.rss)}`
  return { ...memoryCase, unit: 'KB', value: (after.heapUsed - before.heapUsed) / TAILS / 1024, note }
}

interface Memory {
  readonly rss: number
  readonly heapUsed: number
}

/** Without garbage. Nothing tells of a change of these figures: look until five readings agree within a megabyte. */
async function settled(node: StarciteNode): Promise<Memory> {
  const last: Memory[] = []
  for (let looks = 0; looks < 50; looks++) {
    last.push(await node.ask<Memory>())
    const recent = last.slice(-5).map(({ rss }) => rss)
    if (recent.length === 5 && Math.max(...recent) - Math.min(...recent) < 1024 ** 2) break
    await sleep(200)
  }
  return last.at(-1)!
}

const megabytes = (bytes: number) => `${Math.round(bytes / 1024 ** 2)} MB`
