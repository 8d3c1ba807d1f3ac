import { expect } from 'chai'
import type pg from 'pg'
import { at, unique } from './answers.ts'
import { call } from './client.ts'
import type { Guests } from './guardedNode.ts'
import type { TailReader, TailStart, TailTransport } from './tailTransports.ts'
import type { TieringLab } from './tiering.ts'
import { until } from './until.ts'

export interface Node {
  readonly url: string
}

/** What the contract needs, started by the test file. */
export interface TailPlaces {
  readonly database: { readonly url: string }
  readonly db: pg.Client
  /** Each on `database`. */
  readonly node: Node
  /** Remembers two events, so that a reader that is behind is served from storage. */
  readonly narrow: Node
  /** Does not poll while a test runs: it learns of a changed log by what its readers look up. */
  readonly unaware: Node
  /** Gives up a reader that takes nothing. */
  readonly strict: Node
  /** A session of more than the buffers of a connection hold. */
  readonly big: { readonly id: string; readonly events: number }
  /** Admits `guests` alone, with two tails for each. */
  readonly guarded: Node
  readonly guests: Guests
  readonly lab: TieringLab
  /** On the database of `lab`. */
  readonly cold: Node
}

export const range = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, i) => first + i)

/** Tails of one transport, and the sessions that they read. */
export class TailsUnderTest {
  readonly transport: TailTransport
  readonly places: TailPlaces
  readonly #readers: TailReader[] = []

  constructor(transport: TailTransport, places: TailPlaces) {
    this.transport = transport
    this.places = places
  }

  /** Closes every tail that is open. */
  close(): void {
    for (const reader of this.#readers.splice(0)) reader.close()
  }

  readonly tail = (id: string, start: TailStart = {}, { url }: Node = this.places.node): TailReader => {
    const reader = this.transport.open(url, id, start)
    this.#readers.push(reader)
    return reader
  }

  /** A session of `count` events. Resolves with its id. */
  readonly session = async (count = 0, id = unique()): Promise<string> => {
    await call('POST', `${this.places.node.url}/v1/sessions`, { id })
    if (count > 0) await this.append(id, count)
    return id
  }

  readonly append = async (id: string, count: number, payload: object = {}): Promise<void> => {
    const events = range(1, count).map(() => ({ type: 'n', payload }))
    const { status } = await call('POST', at(this.places.node.url, id, '/events'), { events })
    expect(status).to.equal(201)
  }
}

export const seqs = (reader: TailReader): number[] => reader.received().batches.flat()
export const begun = (reader: TailReader) => until('the tail has begun', () => reader.received().hasBegun)
export const has = (reader: TailReader, count: number) =>
  until(`the tail has ${count} events`, () => seqs(reader).length >= count)
export const refusalOf = (reader: TailReader) => until('the tail is refused', () => reader.received().refusal)
export const endOf = (reader: TailReader) => until('the tail has ended', () => reader.received().end)
