import { startEmbeddedPostgres } from '../../src/db/embedded/server.ts'
import { serverPackage } from './serverPackage.ts'

// A node that starts the embedded server, prints that in one line, and lives until it is killed:
// what the tests of the launcher kill.
const { dir, port, pid, adopted } = await startEmbeddedPostgres({
  dir: process.argv[2]!,
  durable: false,
  pack: await serverPackage(),
})
console.log(JSON.stringify({ dir, port, pid, adopted }))
setInterval(() => undefined, 60_000)
