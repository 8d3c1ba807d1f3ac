import type { ArchivedLine, Span } from './archivedLine.ts'
import type { EventHasher } from './eventHasher.ts'

/** The value of payload, metadata and refs once the content is erased. */
const ERASED = Buffer.from('{}')

/**
 * Describes what is wrong with an event's content; undefined when nothing is. Erased content cannot be checked, and
 * whether its erasure was lawful is checked elsewhere. Restores the line's line feeds.
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
    : 'its payload, metadata or refs do not match its content_digest'
}

const isErased = ({ bytes }: ArchivedLine, { start, end }: Span) => ERASED.equals(bytes.subarray(start, end))
