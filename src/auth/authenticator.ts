import { ANYONE, type Principal } from './principal.ts'

/** Who may come in. One per node; transports hand it the token that they found, and never keep or log it. */
export interface Authenticator {
  /**
   * Whose token that is; `undefined` when the request has none. Throws `unauthorized`, with a `token_expired` detail of
   * true when the token was good once.
   */
  authenticate(token: string | undefined): Principal | Promise<Principal>
}

/** STARCITE_AUTH_MODE=none: everybody is let in, into the one tenant. */
export const NO_AUTHENTICATION: Authenticator = { authenticate: () => ANYONE }
