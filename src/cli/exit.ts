/** Every exit code of `starcite`; a node is `starcite serve`. */
export const EXIT = { ok: 0, failed: 1, usage: 2, port: 3, database: 4, schema: 5 } as const

/** The meaning of each exit code, as `starcite --help` and docs/cli.md give it. */
export const MEANINGS: Readonly<Record<keyof typeof EXIT, string>> = {
  ok: 'done',
  failed: 'the command failed',
  usage: 'the command line or the configuration is wrong',
  port: 'the port cannot be used',
  database: 'there is no database that can be used',
  schema: 'the schema or the server does not fit this release',
}

/** Sets the exit code of a command that fails without an error. */
export function setExitCode(code: number): void {
  process.exitCode = code
}

/** The command line is wrong. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** A server of this process cannot listen on its port. */
class PortError extends Error {
  override readonly name = 'PortError'
}

/** Error classes by name: an import would load Postgres's client for every command. */
const CODES: Readonly<Record<string, number>> = {
  UsageError: EXIT.usage,
  ConfigError: EXIT.usage,
  KeyError: EXIT.usage,
  PortError: EXIT.port,
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

/** A PortError for an error of `listen`, which names the settings that choose the port; any other error as it is. */
export function explainListenError(error: unknown, settings: string): unknown {
  const { code, syscall, port, message } = error as NodeJS.ErrnoException & { port?: number }
  if (syscall !== 'listen') return error
  if (code !== 'EADDRINUSE') return new PortError(`cannot listen: ${message}`, { cause: error })
  return new PortError(`port ${port} is taken by another process; choose another with ${settings}`, {
    cause: error,
  })
}
