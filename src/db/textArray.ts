/** OIDs of the element types, as in pg_type.dat. */
const ELEMENT_OIDS = { text: 25, json: 114 }

const HEADER_BYTES = 20
const LENGTH_BYTES = 4
const NULL_LENGTH = -1
/** Longer strings are measured instead of reserving three bytes for each UTF-16 unit. */
const MAX_GUESSED_LENGTH = 1024

/**
 * A parameter of type text[] or json[] in Postgres's binary format (array_recv in its arrayfuncs.c). Nothing in it
 * has to be escaped, or unescaped by Postgres.
 */
export function textArray(element: keyof typeof ELEMENT_OIDS, values: readonly (string | null)[]): Buffer {
  let room = HEADER_BYTES
  for (const value of values) room += LENGTH_BYTES + (value === null ? 0 : roomFor(value))
  const bytes = Buffer.allocUnsafe(room)
  let at = HEADER_BYTES
  let hasNulls = 0
  for (const value of values) {
    if (value === null) hasNulls = 1
    const length = value === null ? 0 : bytes.write(value, at + LENGTH_BYTES)
    bytes.writeInt32BE(value === null ? NULL_LENGTH : length, at)
    at += LENGTH_BYTES + length
  }
  bytes.writeInt32BE(1, 0) // number of dimensions
  bytes.writeInt32BE(hasNulls, 4)
  bytes.writeInt32BE(ELEMENT_OIDS[element], 8)
  bytes.writeInt32BE(values.length, 12)
  bytes.writeInt32BE(1, 16) // index of the first element
  return bytes.subarray(0, at)
}

const roomFor = (value: string): number =>
  value.length > MAX_GUESSED_LENGTH ? Buffer.byteLength(value) : 3 * value.length
