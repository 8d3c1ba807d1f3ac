import type { ArchivedLine } from './archivedLine.ts'
import type { ChainVersion } from './chain.ts'

/** Describes what is wrong with the form by which an event is chained; undefined when nothing is. */
export function chainProblem(before: ChainVersion, line: ArchivedLine): string | undefined {
  if (line.chainVersion < before)
    return `its chain has form ${line.chainVersion}, and the event before has form ${before}`
  if (line.chainVersion === 1 && line.subject.start !== -1)
    return 'it has a subject, which form 1 of the chain does not cover'
  return undefined
}
