/** `node dist/cli/tier.js` is `starcite tier`: images, process managers and scripts start it by this name. */
import { run } from './run.ts'

await run(['tier', ...process.argv.slice(2)])
