/** The fields of a log line that name the trace of a request, with the names of OpenTelemetry's logs. */
export interface TraceFields {
  readonly trace_id: string
  /** The span of the caller: a node makes no spans of its own. */
  readonly span_id: string
}

const TRACEPARENT =
  /^(?!ff)[0-9a-f]{2}-(?<trace>(?!0{32})[0-9a-f]{32})-(?<span>(?!0{16})[0-9a-f]{16})-[0-9a-f]{2}(?<more>-.*)?$/

/** The fields of a W3C `traceparent` header; undefined without a valid one. */
export function traceFields(traceparent: string | string[] | undefined): TraceFields | undefined {
  if (typeof traceparent !== 'string') return undefined
  const groups = TRACEPARENT.exec(traceparent)?.groups
  // Later versions may add fields behind the fourth; version 00 has none.
  if (!groups?.trace || !groups.span || (traceparent.startsWith('00') && groups.more)) return undefined
  return { trace_id: groups.trace, span_id: groups.span }
}
