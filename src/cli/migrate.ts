/** `node dist/cli/migrate.js` is `starcite migrate`: images, process managers and scripts start it by this name. */
import { run } from './run.ts'

await run(['migrate', ...process.argv.slice(2)])
