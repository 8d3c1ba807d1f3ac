import { performance } from 'node:perf_hooks'
import type { Sample } from './httpLoad.ts'
import { WebSocketReader } from './webSocket.ts'

export interface Replay {
  readonly port: number
  readonly session: string
  readonly events: number
  readonly batchSize: number | undefined
}

/** Reads a whole log over one socket, and when the clock has stopped, checks every event of it. */
export async function replay({ port, session, events, batchSize }: Replay): Promise<Sample> {
  const frames: Buffer[] = []
  const query = `cursor=0&follow=false${batchSize === undefined ? '' : `&batch_size=${batchSize}`}`
  const start = performance.now()
  const code = await new Promise<number | undefined>((resolve, reject) => {
    const listener = { text: (frame: Buffer) => void frames.push(frame), closed: resolve }
    WebSocketReader.open(port, `/v1/sessions/${session}/tail?${query}`, listener).catch(reject)
  })
  const seconds = (performance.now() - start) / 1000
  if (code !== 1000) throw new Error(`a replay ended with ${code}`)
  let seq = 0
  for (const frame of frames) {
    const parsed = JSON.parse(frame.toString())
    for (const event of batchSize === undefined ? [parsed] : parsed) {
      seq += 1
      if (event.seq !== seq) throw new Error(`a replay of ${session} had ${event.seq} in the place of ${seq}`)
    }
  }
  if (seq !== events) throw new Error(`a replay of ${events} events ended at ${seq}`)
  return { count: events, seconds, latencies: new Float64Array() }
}
