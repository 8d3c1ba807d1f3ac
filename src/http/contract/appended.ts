import { Type } from '../jsonSchema.ts'
import { closed, Seq } from './values.ts'

const deduped = Type.Boolean({ description: 'The event had been stored before: the request was a retry.' })
const last_seq = Seq('The newest seq of the session after the append.')
const cursor = Seq('The cursor with which a tail continues after the event.')
const committed_cursor = Seq('Equal to last_seq: the response is sent only after the commit.')

/** The response to an append of one event, on every transport. */
export const Appended = closed(
  {
    seq: Seq('The seq of the event; after a retry that of the original.'),
    last_seq,
    deduped,
    cursor,
    committed_cursor,
  },
  { title: 'Appended' },
)

export const AppendedBatch = closed(
  {
    results: Type.Array(closed({ seq: Seq('The seq of the event.'), deduped }), { minItems: 1 }),
    last_seq,
    cursor,
    committed_cursor,
  },
  { title: 'AppendedBatch' },
)
