import type { Principal } from '../../../auth/principal.ts'
import { InOrder } from '../../../lib/inOrder.ts'
import { AppError, type ErrorCode } from '../../../protocol/errors.ts'
import { membersOf } from './members.ts'
import { type Message, NULL, type Serializer } from './serializer.ts'
import type { Join, Joined, Member } from './topic.ts'

/** The socket of a channel, as far as the channel needs it. */
export interface ChannelHost {
  readonly principal: Principal
  readonly tokenEnded: boolean
  /** Whether the node drains the socket, so that no new work begins. */
  readonly isLeaving: boolean
  readonly serializer: Serializer
  /** Counts one request against the quota of the tenant. Rejects with rate_limited. */
  countRequest(): Promise<void>
  send(text: string): void
  page(signal: () => AbortSignal): Promise<(() => void) | undefined>
  /** Handles a message as if it had just arrived. */
  receive(message: Message): void
  /** Removes a channel that has ended, so that it gets no more messages of its topic. */
  forget(channel: Channel): void
  /** Counts a message that awaits its reply against the limit, until `answered` is called. */
  asked(): void
  answered(): void
  /** Converts anything thrown to the error that the client gets, and logs unexpected errors. */
  toAppError(error: unknown): AppError
}

export const EMPTY = '{}'

export const reply = (status: 'ok' | 'error', response: string) =>
  `{"status":"${status}","response":${response}}`

export const refusal = (reason: string) => reply('error', JSON.stringify({ reason }))

/**
 * One join of one topic: joining → joined → ended, or joining → ended. The messages of a topic are handled in order: they wait
 * while it is joining, replies are sent in the order of their messages, and a leave or another join waits for the replies
 * before it.
 */
export class Channel implements Member {
  readonly topic: string
  readonly #host: ChannelHost
  readonly #topicText: string
  readonly #joinRef: string
  readonly #ref: string
  readonly #left = new AbortController()
  #hasEnded = false
  /** Created with the first message that needs a reply: most members only listen. */
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
    // Not awaited, so that nothing of the join stays in memory while the client is a member.
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

  /** Ends the channel because the token has ended. */
  expire(reason: string): void {
    if (this.#joined === undefined) this.#refuse('token_expired')
    else {
      this.push('token_expired', JSON.stringify({ reason }))
      if (this.#end()) this.#close()
    }
  }

  /** Ends the channel permanently: the client gets the reason and does not join again. */
  #finish(reason: ErrorCode): void {
    this.push(reason, JSON.stringify({ reason }))
    if (this.#end()) this.#close()
  }

  /** Checks the renewed token. A client that may no longer be a member is made to join again, which is refused with the reason. */
  review(principal: Principal): void {
    try {
      this.#joined?.admit(principal)
    } catch {
      this.#fail()
    }
  }

  /** Ends the membership: the client leaves, the channel ends, or the connection is closed. */
  abandon(): void {
    if (this.signal.aborted) return
    this.#left.abort()
    this.#joined?.left()
  }

  #onFault(error: unknown): void {
    const { code } = this.#host.toAppError(error) // logs unexpected errors
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

  /** Ends this channel for another join of the topic. */
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

  /** Acts after the replies to earlier messages. Messages to the topic wait meanwhile. */
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

  /** Ends the channel. Returns false when it had ended before. */
  #end(): boolean {
    if (this.#hasEnded) return false
    this.#hasEnded = true
    this.abandon()
    this.#host.forget(this)
    return true
  }

  /** Handles the messages that waited, by the channel that has the topic by then. */
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
