/** `node dist/main.js` is `starcite serve`: images, process managers and scripts start it by this name. */
import { run } from './cli/run.ts'

await run(['serve', ...process.argv.slice(2)])
