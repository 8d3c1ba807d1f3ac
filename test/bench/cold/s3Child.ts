import { S3Server } from '../../support/s3Server.ts'
import { answerCalls } from '../calls.ts'

/** An S3 server on loopback, in memory, in a process of its own. */
const starting = S3Server.start()
const handlers = {
  settings: async (prefix: string) => ({ ...(await starting).settings, prefix }),
}
export type S3Handlers = typeof handlers

answerCalls(handlers)
