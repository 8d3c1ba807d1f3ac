import { createHash } from 'node:crypto'
import { redactLine } from '../../archive/line.ts'
import { linesOfSlice, packSlice } from '../../archive/slice.ts'
import { DamagedObjectError } from '../../objects/objectStore.ts'
import type { PackedSlice } from '../copy/packer.ts'

/** The events of a slice whose content an erasure removes. */
export interface Redaction {
  readonly erasureId: string
  readonly firstSeq: number
  readonly lastSeq: number
}

/** An erasure does not change hashes. */
type WrittenSlice = Omit<PackedSlice, 'lastHash' | 'lastVersion'>

/** A slice as it is in the manifest. */
export interface OldSlice extends WrittenSlice {
  readonly redactions: readonly Redaction[]
}

export interface Rewritten {
  readonly body: Buffer
  readonly sha256: Buffer
  readonly slices: readonly WrittenSlice[]
  /** The sessions that lost content. */
  readonly sids: readonly string[]
  /** How many events lost their content, by erasure. */
  readonly events: ReadonlyMap<string, number>
}

/**
 * Writes an object again without the content of some of its events. Slices that nothing is removed from are copied
 * byte for byte. Resolves with undefined when nothing changes. Rejects with a DamagedObjectError when the object is
 * not the one of the manifest.
 */
export async function rewrite(
  key: string,
  body: Buffer,
  slices: readonly OldSlice[],
): Promise<Rewritten | undefined> {
  const members: Buffer[] = []
  const packed: WrittenSlice[] = []
  const sids = new Set<string>()
  const events = new Map<string, number>()
  let offset = 0
  for (const slice of slices) {
    const before = body.subarray(slice.offset, slice.offset + slice.bytes)
    if (!sha256(before).equals(slice.sha256))
      throw new DamagedObjectError(
        `the bytes of object ${key} at ${slice.offset} are not those that were written`,
      )
    const member = (await redactSlice(before, slice, events)) ?? before
    if (member !== before) sids.add(slice.sid)
    members.push(member)
    packed.push({
      ...slice,
      offset,
      bytes: member.length,
      sha256: member === before ? slice.sha256 : sha256(member),
    })
    offset += member.length
  }
  if (sids.size === 0) return undefined
  // Bytes between or after the slices belong to no event, and are not copied.
  const rewritten = Buffer.concat(members)
  return { body: rewritten, sha256: sha256(rewritten), slices: packed, sids: [...sids], events }
}

/** Resolves with undefined when there is nothing to remove. */
async function redactSlice(
  member: Buffer,
  { firstSeq, lastSeq, redactions }: OldSlice,
  events: Map<string, number>,
): Promise<Buffer | undefined> {
  if (redactions.length === 0) return undefined
  const lines = await linesOfSlice(member, firstSeq, lastSeq)
  let isChanged = false
  for (const redaction of redactions)
    for (let seq = redaction.firstSeq; seq <= redaction.lastSeq; seq += 1) {
      const line = lines[seq - firstSeq] as string
      const redacted = redactLine(line, seq)
      if (redacted === line) continue
      lines[seq - firstSeq] = redacted
      events.set(redaction.erasureId, (events.get(redaction.erasureId) ?? 0) + 1)
      isChanged = true
    }
  return isChanged ? packSlice(`${lines.join('\n')}\n`) : undefined
}

const sha256 = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest()
