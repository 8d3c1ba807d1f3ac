import { StarciteError } from '../client/errors.ts'

/** How commands end; docs/cli.md lists them. The numbers that a node has too mean the same (docs/operations.md). */
export const EXIT = { ok: 0, failed: 1, usage: 2, database: 4, schema: 5 } as const

/** How a command that can fail without an error says so. */
export type SetExitCode = (code: number) => void

/** The command was given something that it cannot work with. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** By name, so that a command that needs no database does not load what reaches one. */
const CODES: Readonly<Record<string, number>> = {
  UsageError: EXIT.usage,
  ConfigError: EXIT.usage,
  KeyError: EXIT.usage,
  DatabaseStartError: EXIT.database,
  EmbeddedPostgresError: EXIT.database,
  ForeignSchemaError: EXIT.database,
  SchemaTooNewError: EXIT.schema,
  InstallationConflictError: EXIT.schema,
  DamagedSchemaError: EXIT.schema,
  ServerTooOldError: EXIT.schema,
}

export function exitCodeOf(error: unknown): number {
  return CODES[(error as Error).name] ?? EXIT.failed
}

/** One line, with what can be done about it where that is known. */
export function explain(error: unknown): string {
  if (!(error instanceof StarciteError)) return (error as Error).message ?? String(error)
  const hint = HINTS[error.code]
  return `${error.code}: ${error.message}${hint === undefined ? '' : `\n  ${hint}`}`
}

const HINTS: Readonly<Record<string, string>> = {
  network_error: 'The connection to the node broke; --url or STARCITE_URL says where it is.',
  node_unreachable:
    'Is a node running there? `starcite serve` starts one; --url or STARCITE_URL says where it is.',
  session_not_found: '`starcite sessions` lists what there is; `starcite create ID` makes one.',
  unauthorized:
    'The node asks for a token: --token or STARCITE_TOKEN. For a node of `serve --dev-auth`: starcite token.',
  forbidden_scope:
    '`starcite token --scope …` makes one with other scopes, for a node of `serve --dev-auth`.',
}
