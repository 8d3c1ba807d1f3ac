/** Paths that `npm run prose` reads. Add a directory once it is clean; `npm run prose PATH` reads another one. */
export const CHECKED: readonly string[] = ['README.md', 'deploy/', 'docs/glossary.md']

/** Readers have to read longer sentences twice. */
export const MAX_WORDS = 40
