/**
 * Several commands of `starcite` in one process, one after the other: starting a process takes longer than most of them.
 * Each argument is the words of one. Ends with exit code 1, and says which, when one of them would not end with 0.
 */

import { createProgram } from '../../src/cli/program.ts'

let hasFailed = false
for (const words of process.argv.slice(2)) {
  try {
    await createProgram().parseAsync(words.split(' '), { from: 'user' })
  } catch (error) {
    process.stderr.write(`${(error as Error).stack}\n`)
    process.exitCode = 1
  }
  if (process.exitCode) {
    process.stderr.write(`exit code ${process.exitCode}: starcite ${words}\n`)
    hasFailed = true
  }
  process.exitCode = 0
}
if (hasFailed) process.exitCode = 1
