import { stopChromium } from './chromium.ts'
import { expectContractKept } from './contract.ts'
import { stopTestServer } from './postgres.ts'
import { stopTestS3 } from './s3.ts'

/** A process that does not end by itself so long after its tests has something open that a test should have closed. */
const END_MS = 30_000

/** Mocha runs these around the whole of a process's tests. */
export const mochaHooks = {
  afterAll: [endOfTests],
}

/** Runs each, even if others fail: a part that is left running would keep the process alive. */
export async function endOfTests(): Promise<void> {
  setTimeout(endAnyhow, END_MS).unref()
  const ends = await Promise.allSettled([stopChromium(), stopTestS3(), stopTestServer()])
  for (const end of ends) if (end.status === 'rejected') throw end.reason
  expectContractKept()
}

/** A failed hook may have left a server or a connection open. The process reports that instead of waiting. */
function endAnyhow(): void {
  const open = process.getActiveResourcesInfo().filter((resource) => resource !== 'Timeout')
  console.error(`\n  1 failing\n\n  the process does not end after its tests; still open: ${open.join(', ')}`)
  process.exit(1)
}
