/** Paths that `npm run prose` reads. Add a directory once it is clean; `npm run prose PATH` reads another one. */
export const CHECKED: readonly string[] = [
  'README.md',
  'CHANGELOG.md',
  'deploy/',
  'docs/architecture.md',
  'docs/archive-format.md',
  'docs/audit-offline.md',
  'docs/audit.md',
  'docs/configuration.md',
  'docs/proofs.md',
  'docs/deployment.md',
  'docs/erasure.md',
  'docs/glossary.md',
  'docs/invariants.md',
  'docs/operations.md',
  'docs/protocol.md',
  'docs/security.md',
]

/** Readers have to read longer sentences twice. */
export const MAX_WORDS = 40
