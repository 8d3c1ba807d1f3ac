import type { ArchivedLine, Span } from './archivedLine.ts'
import type { EventHasher } from './eventHasher.ts'

/** What stands for each part of an event's content once that is erased. */
const ERASED = Buffer.from('{}')

/**
 * What is wrong with an event's content, in words; undefined when nothing is. Content that is erased cannot be checked:
 * whether it was erased lawfully is another question. Puts the line's line feeds back.
 */
export function contentProblem(hasher: EventHasher, line: ArchivedLine): string | undefined {
  line.restoreLineFeeds()
  if (line.salt.start === -1)
    return line.isRedacted && [line.payload, line.metadata, line.refs].every((it) => isErased(line, it))
      ? undefined
      : 'its salt is gone, and its content is not'
  if (line.isRedacted) return 'its content is gone, and its salt is not'
  return hasher.hasItsContent(line)
    ? undefined
    : 'its payload, metadata or refs are not those of its content_digest'
}

const isErased = ({ bytes }: ArchivedLine, { start, end }: Span) => ERASED.equals(bytes.subarray(start, end))
