#!/usr/bin/env node
import { CommanderError } from 'commander'
import { EXIT, exitCodeOf, explain } from './exit.ts'
import { createProgram } from './program.ts'
import { err } from './terminal.ts'

// `starcite tail … | head` ends when head does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? EXIT.ok : EXIT.failed)
})

const program = createProgram((code) => {
  process.exitCode = code
})
try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? EXIT.ok : EXIT.usage)
  err(`starcite: ${explain(error)}\n`)
  process.exit(exitCodeOf(error))
}
