/** What a log line says of the trace that a request belongs to. The names are those of OpenTelemetry's logs. */
export interface TraceFields {
  readonly trace_id: string
  /** The span of whoever called: a node makes no spans of its own. */
  readonly span_id: string
}

const TRACEPARENT =
  /^(?!ff)[0-9a-f]{2}-(?<trace>(?!0{32})[0-9a-f]{32})-(?<span>(?!0{16})[0-9a-f]{16})-[0-9a-f]{2}(?<more>-.*)?$/

/** Of a W3C `traceparent` header; undefined for none, or one that is not valid, which counts as none. */
export function traceFields(traceparent: string | string[] | undefined): TraceFields | undefined {
  if (typeof traceparent !== 'string') return undefined
  const groups = TRACEPARENT.exec(traceparent)?.groups
  // Later versions may add fields behind the fourth; version 00 has none.
  if (!groups?.trace || !groups.span || (traceparent.startsWith('00') && groups.more)) return undefined
  return { trace_id: groups.trace, span_id: groups.span }
}
