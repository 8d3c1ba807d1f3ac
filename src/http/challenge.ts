import type { AppError } from '../protocol/errors.ts'

/** What may stand in the quoted strings of a challenge (RFC 6750, section 3). */
const UNQUOTABLE = /[^\x20\x21\x23-\x5b\x5d-\x7e]/g

/** The WWW-Authenticate header of an answer (RFC 6750); undefined when a token would not have helped. */
export function challenge({ code, message, details }: AppError): string | undefined {
  const realm = 'Bearer realm="starcite"'
  const described = (error: string) =>
    `${realm}, error="${error}", error_description="${message.replaceAll(UNQUOTABLE, '?')}"`
  // Who has brought no token at all is not told an error.
  if (code === 'unauthorized') return details.token_missing ? realm : described('invalid_token')
  if (code === 'forbidden_scope')
    return `${described('insufficient_scope')}, scope="${details.required_scope}"`
  return undefined
}
