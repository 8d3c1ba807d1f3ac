import { Type } from '../jsonSchema.ts'
import { closed, Seq } from './values.ts'

const deduped = Type.Boolean({ description: 'It was there already: this was a retry.' })
const last_seq = Seq("The session's newest seq after this.")
const cursor = Seq('From here on a tail shows what follows.')
const committed_cursor = Seq('Equal to last_seq: an answer is given only after the commit.')

/** What an append is answered, on every transport. */
export const Appended = closed(
  {
    seq: Seq("The event's position; of a retry, the original's."),
    last_seq,
    deduped,
    cursor,
    committed_cursor,
  },
  { title: 'Appended' },
)

export const AppendedBatch = closed(
  {
    results: Type.Array(closed({ seq: Seq("The event's position."), deduped }), { minItems: 1 }),
    last_seq,
    cursor,
    committed_cursor,
  },
  { title: 'AppendedBatch' },
)
