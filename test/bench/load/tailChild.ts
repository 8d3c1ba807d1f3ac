import { answerCalls } from '../calls.ts'
import { replay } from './replay.ts'
import { type TailSet, Tails } from './tails.ts'

let tails: Tails | undefined

const handlers = {
  open: async (set: TailSet) => {
    tails = await Tails.open(set)
  },
  await: ({ count, timeoutMs }: { count: number; timeoutMs: number }) => tails!.await(count, timeoutMs),
  close: async () => tails?.close(),
  replay,
}
export type TailHandlers = typeof handlers

answerCalls(handlers)
