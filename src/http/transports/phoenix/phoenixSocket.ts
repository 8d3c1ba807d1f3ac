import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { Authenticator } from '../../../auth/authenticator.ts'
import type { Principal } from '../../../auth/principal.ts'
import { onTokenEnd } from '../../../auth/tokenEnd.ts'
import { type AppError, CLOSE, type Close } from '../../../protocol/errors.ts'
import type { RequestQuota } from '../../requestQuota.ts'
import { closeSocket, type LongLived, type StallPolicy } from '../sockets.ts'
import { Channel, type ChannelHost, EMPTY, refusal, reply } from './channel.ts'
import { membersOf } from './members.ts'
import { Outbox } from './outbox.ts'
import type { Message, Serializer } from './serializer.ts'
import type { Topics } from './topic.ts'

export interface PhoenixSocketOptions {
  readonly serializer: Serializer
  readonly topics: Topics
  readonly authenticator: Authenticator
  /** The rate limit of tenants; undefined: requests are not limited. */
  readonly requestQuota: RequestQuota | undefined
  readonly principal: Principal
  /** Whether the end of the token closes the socket, and not only its topics. */
  readonly closesWithToken: boolean
  /** The socket is closed when the client sends no frame for this long. */
  readonly silenceMs: number
  readonly stallPolicy: StallPolicy
  readonly maxTopics: number
  /** The most messages that may await their replies. At the limit the node reads no further. */
  readonly maxUnanswered: number
  readonly toAppError: (error: unknown) => AppError
}

const UNMATCHED = refusal('unmatched topic')

/** Many topics on one WebSocket, as in Phoenix Channels. Reads frames and passes them to the channels. */
export class PhoenixSocket implements LongLived, ChannelHost {
  readonly transport = 'phoenix'
  readonly serializer: Serializer
  readonly toAppError: (error: unknown) => AppError
  readonly #ws: WebSocket
  readonly #options: PhoenixSocketOptions
  readonly #outbox: Outbox
  readonly #channels = new Map<string, Channel>()
  readonly #closed = new AbortController()
  readonly #silence: NodeJS.Timeout
  #principal: Principal
  #tokenEnded = false
  #unwatchToken: () => void
  #isRenewing = false
  #unanswered = 0
  #isPaused = false
  #allAnswered: (() => void) | undefined

  constructor(ws: WebSocket, socket: Socket, options: PhoenixSocketOptions) {
    this.#ws = ws
    this.#options = options
    this.serializer = options.serializer
    this.toAppError = options.toAppError
    this.#outbox = new Outbox(ws, socket, {
      stallPolicy: options.stallPolicy,
      signal: this.#closed.signal,
      onPressure: () => this.#readOrPause(),
      onStalled: () => this.#close(CLOSE.slow),
    })
    this.#silence = setTimeout(() => this.#onSilence(), options.silenceMs)
    this.#principal = options.principal
    this.#unwatchToken = this.#watchToken()
    ws.on('message', (data, isBinary) => this.#onFrame(data as Buffer, isBinary))
    ws.on('ping', () => this.#silence.refresh())
    ws.once('close', () => this.#onClose())
  }

  get principal(): Principal {
    return this.#principal
  }

  get tokenEnded(): boolean {
    return this.#tokenEnded
  }

  get isLeaving(): boolean {
    return this.#allAnswered !== undefined
  }

  send(text: string): void {
    this.#outbox.send(text)
  }

  page(signal: () => AbortSignal): Promise<(() => void) | undefined> {
    return this.#outbox.page(signal)
  }

  async countRequest(): Promise<void> {
    await this.#options.requestQuota?.take(this.#principal.tenantId)
  }

  forget(channel: Channel): void {
    if (this.#channels.get(channel.topic) === channel) this.#channels.delete(channel.topic)
  }

  asked(): void {
    this.#unanswered += 1
    this.#readOrPause()
  }

  answered(): void {
    this.#unanswered -= 1
    this.#readOrPause()
    if (this.#unanswered === 0) this.#allAnswered?.()
  }

  receive(message: Message): void {
    if (this.#closed.signal.aborted) return
    const { topic, event } = message
    const channel = this.#channels.get(topic)
    if (topic === 'phoenix' && event === 'heartbeat') this.#reply(message, reply('ok', EMPTY))
    else if (topic === 'phoenix' && event === 'auth') void this.#renew(message)
    else if (channel) channel.receive(message)
    else if (event === 'phx_join') this.#join(message)
    // A leave that crosses the end of its channel gets the reply that it would have had before.
    else this.#reply(message, event === 'phx_leave' ? reply('ok', EMPTY) : UNMATCHED)
  }

  /** Answers the messages under way, begins nothing new, and closes the socket, so that the client reconnects to another node. */
  async leave(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#allAnswered = resolve
      if (this.#unanswered === 0 || this.#closed.signal.aborted) resolve()
    })
    await closeSocket(this.#ws, CLOSE.draining)
  }

  #join(message: Message): void {
    const join = this.#options.topics(message.topic)
    if (join === undefined) this.#reply(message, UNMATCHED)
    else if (this.isLeaving) this.#reply(message, refusal('draining'))
    else if (this.#channels.size >= this.#options.maxTopics) this.#reply(message, refusal('too_many_topics'))
    else {
      const channel = new Channel(this, message)
      this.#channels.set(message.topic, channel)
      void channel.join(join, message.payloadText)
    }
  }

  #reply({ joinRef, ref, topic }: Message, payload: string): void {
    this.send(this.serializer.encode(joinRef, ref, JSON.stringify(topic), 'phx_reply', payload))
  }

  /** Replaces the token by a new one of the same subject. The topics continue. */
  async #renew(message: Message): Promise<void> {
    if (this.#isRenewing) return this.#reply(message, refusal('renewal_in_progress'))
    this.#isRenewing = true
    this.asked()
    try {
      const { token } = membersOf(message.payloadText)
      const next = typeof token === 'string' ? await this.#authenticated(token) : undefined
      const { tenantId, actor } = this.#principal
      if (next === undefined || next.tenantId !== tenantId || next.actor !== actor)
        return this.#reply(message, refusal('unauthorized'))
      this.#unwatchToken()
      this.#principal = next
      this.#unwatchToken = this.#watchToken()
      this.#reply(message, reply('ok', EMPTY))
      for (const channel of [...this.#channels.values()]) channel.review(next)
    } catch (error) {
      this.#reply(message, refusal(this.toAppError(error).code))
    } finally {
      this.#isRenewing = false
      this.answered()
    }
  }

  #authenticated(token: string): Principal | Promise<Principal> {
    return this.#options.authenticator.authenticate(token)
  }

  /**
   * Ends the topics, or the socket if the client asked for that, when the token ends. On a socket that stays open the client
   * may renew the token and join again. Phoenix's client rejoins after a closed connection, but not a topic that was closed.
   */
  #watchToken(): () => void {
    this.#tokenEnded = false
    return onTokenEnd(this.#principal, (close) => {
      this.#tokenEnded = true
      if (this.#options.closesWithToken) return this.#close(close)
      const { reason } = close
      for (const channel of [...this.#channels.values()]) channel.expire(reason)
    })
  }

  #onFrame(data: Buffer, isBinary: boolean): void {
    if (this.#ws.readyState !== this.#ws.OPEN) return
    this.#silence.refresh()
    const message = isBinary ? undefined : this.serializer.decode(data.toString())
    if (message) this.receive(message)
    else this.#close(isBinary ? CLOSE.binary : CLOSE.malformed)
  }

  /** Closes a silent socket, unless the node itself does not read from it. */
  #onSilence(): void {
    if (this.#isPaused) this.#silence.refresh()
    else this.#close(CLOSE.silent)
  }

  /** Stops reading from a client that does not read its replies, or awaits too many: TCP makes it wait. */
  #readOrPause(): void {
    const pause = this.#outbox.isFull || this.#unanswered >= this.#options.maxUnanswered
    if (pause === this.#isPaused) return
    this.#isPaused = pause
    if (pause) this.#ws.pause()
    else this.#ws.resume()
  }

  #close(close: Close): void {
    void closeSocket(this.#ws, close)
  }

  #onClose(): void {
    this.#closed.abort()
    clearTimeout(this.#silence)
    this.#unwatchToken()
    for (const channel of this.#channels.values()) channel.abandon()
    this.#channels.clear()
    this.#allAnswered?.()
  }
}
