export interface SessionLedger {
  readonly session: string
  readonly acknowledged: number
  readonly distinct: number
  readonly highest: number
}

/** Every seq that a server acknowledged, by session: compared with the database when the load is over. */
export class Ledger {
  readonly #seqs = new Map<string, number[]>()

  note(session: string, seq: number): void {
    const seqs = this.#seqs.get(session)
    if (seqs === undefined) this.#seqs.set(session, [seq])
    else seqs.push(seq)
  }

  read(): SessionLedger[] {
    return [...this.#seqs].map(([session, seqs]) => ({
      session,
      acknowledged: seqs.length,
      distinct: new Set(seqs).size,
      highest: seqs.reduce((a, b) => Math.max(a, b), 0),
    }))
  }
}
