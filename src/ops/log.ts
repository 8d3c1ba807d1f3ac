import { type DestinationStream, type Logger, pino } from 'pino'

export type Log = Logger

/** Creates a structured log with one JSON object per line. Query strings and bodies of requests are never logged. */
export function createLog(level: string, destination?: DestinationStream): Log {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { err: describe },
  }
  return destination ? pino(options, destination) : pino(options)
}

/** The logged fields of an error. Its other properties are left out: pg and the SDK attach whole clients to errors. */
function describe(error: unknown): object {
  if (!(error instanceof Error)) return { message: String(error) }
  const { code } = error as NodeJS.ErrnoException
  return {
    type: error.name,
    message: error.message,
    ...(code !== undefined && { code }),
    stack: error.stack,
    ...(error instanceof AggregateError && { errors: error.errors.map(describe) }),
    ...(error.cause !== undefined && { cause: describe(error.cause) }),
  }
}
