import { ANYONE, type Principal } from './principal.ts'

/** Turns the token of a request into a principal. Transports pass the token on, and never store or log it. */
export interface Authenticator {
  /**
   * The principal of a token, which is `undefined` when the request has none. Throws `unauthorized`, with the detail
   * `token_expired` when the token was valid before.
   */
  authenticate(token: string | undefined): Principal | Promise<Principal>
}

/** Accepts every request, into the one tenant (STARCITE_AUTH_MODE=none). */
export const NO_AUTHENTICATION: Authenticator = { authenticate: () => ANYONE }
