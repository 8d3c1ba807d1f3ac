/** Paths that `npm run prose` reads. `npm run prose PATH` reads other ones. */
export const CHECKED: readonly string[] = [
  '.ci/',
  '.github/',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'README.md',
  'SECURITY.md',
  'deploy/',
  'docs/',
  'sql/',
  'src/',
  'test/',
  ':!test/unit/prose.test.ts',
]

/** Readers have to read longer sentences twice. */
export const MAX_WORDS = 40
