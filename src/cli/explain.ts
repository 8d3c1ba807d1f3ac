import { StarciteError } from '../client/errors.ts'

/** The message of an error; for an error of the API, its code and what to do about it. */
export function explain(error: unknown): string {
  if (!(error instanceof StarciteError)) return (error as Error).message ?? String(error)
  const hint = HINTS[error.code]
  return `${error.code}: ${error.message}${hint === undefined ? '' : `\n  ${hint}`}`
}

const HINTS: Readonly<Record<string, string>> = {
  network_error: 'The connection to the node broke. Set its address with --url or STARCITE_URL.',
  node_unreachable:
    'Start a node with `starcite serve`, or set the address of one with --url or STARCITE_URL.',
  session_not_found: '`starcite sessions` lists sessions; `starcite create ID` creates one.',
  unauthorized:
    'The node requires a token: set --token or STARCITE_TOKEN. For a node of `serve --dev-auth`: `starcite token`.',
  forbidden_scope:
    'For a node of `serve --dev-auth`, `starcite token --scope …` makes a token with other scopes.',
}
