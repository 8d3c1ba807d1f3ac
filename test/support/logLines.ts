import { createLog, type Log } from '../../src/ops/log.ts'

/** What is logged, to be looked into. */
export class LogLines {
  readonly log: Log = createLog('debug', {
    write: (line: string) => {
      this.text += line
    },
  })
  text = ''
}
