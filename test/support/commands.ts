/**
 * Several commands of `starcite` in one process, one after the other: starting a process takes longer than most of them.
 * Each argument is the words of one. Ends with exit code 1, and says which, when one of them would not end with 0.
 */

import { createProgram } from '../../src/cli/program.ts'

for (const words of process.argv.slice(2)) {
  let code = 0
  try {
    await createProgram((it) => {
      code = it
    }).parseAsync(words.split(' '), { from: 'user' })
  } catch (error) {
    process.stderr.write(`${(error as Error).stack}\n`)
    code = 1
  }
  if (code !== 0) {
    process.stderr.write(`exit code ${code}: starcite ${words}\n`)
    process.exitCode = 1
  }
}
