import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { CHECKED, MAX_WORDS } from './config.ts'
import { findingsIn } from './rules.ts'
import { textsOf } from './texts.ts'

// `npm run prose [path …]`: what the linter of prose finds in the files of CHECKED, or below the paths that are named.
const prefixes = process.argv.length > 2 ? process.argv.slice(2) : CHECKED
const files = execFileSync('git', ['ls-files', '--', ...prefixes], { encoding: 'utf8' })
  .split('\n')
  .filter(
    (file) => /\.(?:md|ts|sql|ya?ml|toml)$|^\.ci\/|Dockerfile$/.test(file) && !file.startsWith('test/prose/'),
  )

let found = 0
for (const file of files)
  for (const text of textsOf(file, readFileSync(file, 'utf8')))
    for (const { line, message } of findingsIn(text, MAX_WORDS)) {
      found++
      process.stdout.write(`${file}:${line}: ${message}\n`)
    }
process.stdout.write(`${files.length} files, ${found} ${found === 1 ? 'finding' : 'findings'}\n`)
process.exitCode = found === 0 ? 0 : 1
