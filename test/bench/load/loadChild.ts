import { answerCalls } from '../calls.ts'
import { type HttpLoad, httpLoad, type PacedLoad, pacedLoad } from './httpLoad.ts'
import { Ledger } from './ledger.ts'
import { type SocketLoad, socketLoad } from './socketLoad.ts'
import { commitLoad, directLoad } from './sqlLoad.ts'

/** One ledger for each server whose answers are held against its database. */
const ledgers = new Map<string, Ledger>()
function ledgerOf(name: string | undefined): Ledger | undefined {
  if (name === undefined) return undefined
  const ledger = ledgers.get(name) ?? new Ledger()
  ledgers.set(name, ledger)
  return ledger
}

const handlers = {
  http: (load: HttpLoad & { ledger?: string }) => httpLoad(load, ledgerOf(load.ledger)),
  paced: (load: PacedLoad & { ledger?: string }) => pacedLoad(load, ledgerOf(load.ledger)),
  socket: (load: SocketLoad & { ledger?: string }) => socketLoad(load, ledgerOf(load.ledger)),
  commits: commitLoad,
  direct: directLoad,
  ledger: async (name: string) => ledgerOf(name)!.read(),
}
export type LoadHandlers = typeof handlers

answerCalls(handlers)
