import { readdirSync, statSync } from 'node:fs'
import path from 'node:path'

const LEVELS = ['unit', 'sql', 'http', 'integration', 'contract', 'e2e'].map((level) => `test/${level}`)
const NIGHTLY = 'test/nightly'
const SUFFIX = '.test.ts'

/** The test files of these files and directories; without any, of all levels, the nightly one only where it is asked for. */
export function findTests(paths: readonly string[], nightly: boolean): string[] {
  const roots = paths.length > 0 ? paths : nightly ? [...LEVELS, NIGHTLY] : LEVELS
  const found = roots.flatMap((root) => (statSync(root).isFile() ? [root] : below(root)))
  return [...new Set(found.map((file) => path.relative('.', file).replaceAll(path.sep, '/')))].sort()
}

const below = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(SUFFIX))
    .map((name) => path.join(directory, name))
