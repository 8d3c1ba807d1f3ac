/** Paths that `npm run prose` reads, and those that it does not read yet. Add a directory once it is clean; `npm run prose PATH` reads another one. */
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
]

/** Readers have to read longer sentences twice. */
export const MAX_WORDS = 40
