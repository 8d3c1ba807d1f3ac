import { ConfigError } from '../config.ts'
import { moveSegments } from './moveSegments.ts'

const USAGE = `npm run tier: moves the segments that are due now, once, by hand.

It does what nodes do by themselves, under the same lock, with the same environment variables (docs/configuration.md). A
segment is due when its end is older than the retention that the last node to start has set. Exit code 0 when all that
was due is moved; 1 when not, or when another node is moving segments now; 2 when the command or the configuration is
wrong. It may be interrupted at any moment: the next run goes on from there.
`

const [argument] = process.argv.slice(2)
if (argument === '--help' || argument === '-h') process.stdout.write(USAGE)
else if (argument !== undefined) {
  process.stderr.write(`starcite tier: there is no option ${argument}\n\n${USAGE}`)
  process.exitCode = 2
} else
  moveSegments().then(
    (code) => {
      process.exitCode = code
    },
    (error: unknown) => {
      process.stderr.write(`starcite tier: ${(error as Error).message}\n`)
      process.exit(error instanceof ConfigError ? 2 : 1)
    },
  )
