import type { AppError } from '../protocol/errors.ts'

/** Characters that the quoted strings of a challenge must not contain (RFC 6750, section 3). */
const UNQUOTABLE = /[^\x20\x21\x23-\x5b\x5d-\x7e]/g

/** The WWW-Authenticate header for an error (RFC 6750); undefined when another token would not help. */
export function challenge({ code, message, details }: AppError): string | undefined {
  const realm = 'Bearer realm="starcite"'
  const described = (error: string) =>
    `${realm}, error="${error}", error_description="${message.replaceAll(UNQUOTABLE, '?')}"`
  // RFC 6750 gives a request without a token no error code.
  if (code === 'unauthorized') return details.token_missing ? realm : described('invalid_token')
  if (code === 'forbidden_scope')
    return `${described('insufficient_scope')}, scope="${details.required_scope}"`
  return undefined
}
