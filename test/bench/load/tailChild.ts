import { answerCalls } from '../calls.ts'
import { replay } from './replay.ts'
import { type TailSet, Tails } from './tails.ts'
import { openTopics, type TopicSet } from './topics.ts'

let tails: Tails | undefined
let topics: { close(): void } | undefined

const handlers = {
  open: async (set: TailSet) => {
    tails = await Tails.open(set)
  },
  await: ({ count, timeoutMs }: { count: number; timeoutMs: number }) => tails!.await(count, timeoutMs),
  openTopics: async (set: TopicSet) => {
    const sockets = await openTopics(set)
    topics = {
      close: () => {
        for (const socket of sockets) socket.close()
      },
    }
  },
  close: async () => {
    tails?.close()
    topics?.close()
  },
  replay,
}
export type TailHandlers = typeof handlers

answerCalls(handlers)
