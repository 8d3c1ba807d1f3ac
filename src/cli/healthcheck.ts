/** `node dist/cli/healthcheck.js` is `starcite healthcheck`: images, process managers and scripts start it by this name. */
import { run } from './run.ts'

await run(['healthcheck', ...process.argv.slice(2)])
