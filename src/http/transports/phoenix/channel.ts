import type { Principal } from '../../../auth/principal.ts'
import { InOrder } from '../../../lib/inOrder.ts'
import { AppError, type ErrorCode } from '../../../protocol/errors.ts'
import { membersOf } from './members.ts'
import { type Message, NULL, type Serializer } from './serializer.ts'
import type { Join, Joined, Member } from './topic.ts'

/** What a channel needs of the socket that it is on. */
export interface ChannelHost {
  readonly principal: Principal
  readonly tokenEnded: boolean
  /** The socket is about to be closed: nothing is begun any more. */
  readonly isLeaving: boolean
  readonly serializer: Serializer
  /** Counts one request against the quota of the tenant. Rejects with rate_limited. */
  countRequest(): Promise<void>
  send(text: string): void
  page(signal: () => AbortSignal): Promise<(() => void) | undefined>
  /** Handles a message as if it came now. */
  receive(message: Message): void
  /** The channel has ended: messages to its topic are no longer its own. */
  forget(channel: Channel): void
  /** A message awaits its answer; `answered` says that it has it. Between the two it counts against a bound. */
  asked(): void
  answered(): void
  /** What a thrown thing is to a client. */
  toAppError(error: unknown): AppError
}

export const EMPTY = '{}'

export const reply = (status: 'ok' | 'error', response: string) =>
  `{"status":"${status}","response":${response}}`

export const refusal = (reason: string) => reply('error', JSON.stringify({ reason }))

/**
 * One join of one topic: joining → joined → ended, or joining → ended. Messages to a topic are handled in their order:
 * while it is joining they wait, answers leave in the order of their messages, and a leave, or another join, waits for
 * the answers before it.
 */
export class Channel implements Member {
  readonly topic: string
  readonly #host: ChannelHost
  readonly #topicText: string
  readonly #joinRef: string
  readonly #ref: string
  readonly #left = new AbortController()
  #hasEnded = false
  /** Made once there is something to answer: most members of topics only listen. */
  #answers: InOrder | undefined
  #waiting: Message[] | undefined = []
  #joined: Joined | undefined

  constructor(host: ChannelHost, { topic, joinRef, ref }: Message) {
    this.#host = host
    this.topic = topic
    this.#topicText = JSON.stringify(topic)
    this.#joinRef = joinRef === NULL ? ref : joinRef // version 1 has no join_ref
    this.#ref = ref
  }

  get principal(): Principal {
    return this.#host.principal
  }

  get tokenEnded(): boolean {
    return this.#host.tokenEnded
  }

  get connection(): object {
    return this.#host
  }

  get signal(): AbortSignal {
    return this.#left.signal
  }

  push(event: string, payload: string): void {
    if (!this.signal.aborted) this.#send(NULL, event, payload)
  }

  page(signal: () => AbortSignal): Promise<(() => void) | undefined> {
    return this.#host.page(signal)
  }

  async join(join: Join, payloadText: string): Promise<void> {
    try {
      await this.#host.countRequest()
      const joined = await join(membersOf(payloadText), this)
      if (this.signal.aborted) joined.left()
      else {
        this.#joined = joined
        this.#send(this.#ref, 'phx_reply', reply('ok', EMPTY))
      }
    } catch (error) {
      this.#refuse(this.#host.toAppError(error).code)
    }
    this.#goOn()
    // Not awaited: nothing of the joining is kept for as long as the client stays.
    if (this.#joined && !this.signal.aborted) this.#joined.run().catch((error) => this.#onFault(error))
  }

  receive(message: Message): void {
    if (this.#waiting) {
      this.#host.asked()
      this.#waiting.push(message)
    } else if (message.event === 'phx_join') this.#makeWay(message)
    else if (message.event === 'phx_leave') this.#leave(message)
    else this.#answer(message)
  }

  /** The token is at its end. */
  expire(reason: string): void {
    if (this.#joined === undefined) this.#refuse('token_expired')
    else {
      this.push('token_expired', JSON.stringify({ reason }))
      if (this.#end()) this.#close()
    }
  }

  /** There is no more to come, ever: the client is told why, and does not join again. */
  #finish(reason: ErrorCode): void {
    this.push(reason, JSON.stringify({ reason }))
    if (this.#end()) this.#close()
  }

  /** The token was renewed; a client that may no longer be here is told to join again, and hears why it cannot. */
  review(principal: Principal): void {
    try {
      this.#joined?.admit(principal)
    } catch {
      this.#fail()
    }
  }

  /** The client is no longer here: it leaves, the channel ends, or the connection is gone. */
  abandon(): void {
    if (this.signal.aborted) return
    this.#left.abort()
    this.#joined?.left()
  }

  #onFault(error: unknown): void {
    const { code } = this.#host.toAppError(error) // which logs a fault
    if (code === 'session_erased' || code === 'history_changed') this.#finish(code)
    else {
      if (code === 'history_damaged') this.push(code, JSON.stringify({ reason: code }))
      this.#fail()
    }
  }

  #answer(message: Message): void {
    const answer = this.#joined?.answerTo(message.event)
    if (answer === undefined) return
    const answerInPlace = this.#place()
    const settle = (payload: string) =>
      answerInPlace(() => {
        this.#send(message.ref, 'phx_reply', payload)
        this.#host.answered()
      })
    this.#host.asked()
    const answered = this.#host.isLeaving
      ? Promise.reject(leaving())
      : this.#host.countRequest().then(() => answer(message))
    answered.then(
      (response) => settle(reply('ok', response)),
      (error) => settle(reply('error', JSON.stringify(this.#host.toAppError(error)))),
    )
  }

  /** Another join takes the topic over. */
  #makeWay(join: Message): void {
    this.#afterAnswers(() => {
      if (this.#end()) this.#close()
      this.#host.receive(join)
    })
  }

  #leave({ joinRef, ref }: Message): void {
    const isOfAnother = joinRef !== NULL && joinRef !== this.#joinRef
    if (!isOfAnother) this.abandon()
    this.#afterAnswers(() => {
      this.#send(ref, 'phx_reply', reply('ok', EMPTY))
      if (!isOfAnother && this.#end()) this.#close()
    })
  }

  /** Once what was asked before is answered; messages to the topic wait meanwhile. */
  #afterAnswers(act: () => void): void {
    this.#waiting = []
    this.#place()(() => {
      act()
      this.#goOn()
    })
  }

  #place(): (act: () => void) => void {
    this.#answers ??= new InOrder()
    return this.#answers.place()
  }

  #refuse(reason: string): void {
    if (this.#end()) this.#send(this.#ref, 'phx_reply', refusal(reason))
  }

  #fail(): void {
    if (this.#end()) this.#send(this.#joinRef, 'phx_error', EMPTY)
  }

  /** False when it had ended already. */
  #end(): boolean {
    if (this.#hasEnded) return false
    this.#hasEnded = true
    this.abandon()
    this.#host.forget(this)
    return true
  }

  /** What waited is handled now, by this channel or by whoever has the topic then. */
  #goOn(): void {
    const waiting = this.#waiting ?? []
    this.#waiting = undefined
    for (const message of waiting) {
      this.#host.answered()
      this.#host.receive(message)
    }
  }

  #close(): void {
    this.#send(this.#joinRef, 'phx_close', EMPTY)
  }

  #send(ref: string, event: string, payload: string): void {
    this.#host.send(this.#host.serializer.encode(this.#joinRef, ref, this.#topicText, event, payload))
  }
}

const leaving = () =>
  new AppError('draining', 'the node is shutting down; send the append again', { retry_after_ms: 0 })
