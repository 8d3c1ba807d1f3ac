import { Ajv, type ValidateFunction } from 'ajv'
import { asyncApi } from '../../src/http/contract/asyncapi.ts'
import { CHANNELS } from '../../src/http/contract/channels.ts'

/** What the node may send on these channels, by the AsyncAPI document. */
export class SocketContract {
  readonly #check: ValidateFunction

  constructor(channels: readonly string[]) {
    const ajv = new Ajv({ strict: false, validateFormats: false })
    ajv.addSchema(asyncApi('0.0.0-test'), 'sockets')
    const anyOf = channels.flatMap((name) => {
      const { sends = {}, receives = {} } = CHANNELS[name] ?? {}
      const replies = Object.values(receives).flatMap((event) => Object.keys(event.replies))
      return [...Object.keys(sends), ...replies].map((message) => ({
        $ref: `sockets#/channels/${name}/messages/${message}/payload`,
      }))
    })
    this.#check = ajv.compile({ anyOf })
  }

  /** Whether the frame is one that may be sent. */
  allows(text: string): boolean {
    return this.#check(JSON.parse(text)) === true
  }
}
