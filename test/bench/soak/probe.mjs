// Loaded into a node by `npm run soak`, so that it can be asked what it holds. Plain JavaScript: the node is the built one.
import { readdirSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'

const RESOLUTION_MS = 10
const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
delay.enable()

process.on('message', () => {
  const { rss, heapUsed, external } = process.memoryUsage()
  const loopLagMs = Math.max(0, delay.percentile(99) / 1e6 - RESOLUTION_MS)
  delay.reset()
  const files = readdirSync('/proc/self/fd').length
  process.send?.({ rss, heapUsed, external, files, loopLagMs })
})
process.channel?.unref()
