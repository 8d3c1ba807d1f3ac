import type { ArchivedLine } from './archivedLine.ts'
import type { ChainVersion } from './chain.ts'

/** What is wrong with the form by which an event is chained, in words; undefined when nothing is. */
export function chainProblem(before: ChainVersion, line: ArchivedLine): string | undefined {
  if (line.chainVersion < before)
    return `it is chained by form ${line.chainVersion}, and the event before by form ${before}`
  if (line.chainVersion === 1 && line.subject.start !== -1)
    return 'it has a subject, which form 1 of the chain does not cover'
  return undefined
}
