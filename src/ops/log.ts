import { type DestinationStream, type Logger, pino } from 'pino'

export type Log = Logger

/** Structured logs, one JSON object a line. Nothing that a client sent in a query string or body is ever logged. */
export function createLog(level: string, destination?: DestinationStream): Log {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { err: describe },
  }
  return destination ? pino(options, destination) : pino(options)
}

/** What an error says of itself. Not its other properties: pg and the SDK hang whole clients on their errors. */
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
