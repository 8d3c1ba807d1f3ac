import { CommanderError } from 'commander'
import { EXIT, exitCodeOf } from './exit.ts'
import { explain } from './explain.ts'
import { createProgram } from './program.ts'
import { err } from './terminal.ts'

/** Runs one command of `starcite`. A command that fails ends the process, with an exit code of exit.ts. */
export async function run(args: readonly string[]): Promise<void> {
  // `starcite tail … | head` ends when head does.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? EXIT.ok : EXIT.failed)
  })
  try {
    await createProgram().parseAsync(args, { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? EXIT.ok : EXIT.usage)
    err(`starcite: ${explain(error)}\n`)
    process.exit(exitCodeOf(error))
  }
}
