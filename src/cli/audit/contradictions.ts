import {
  acknowledgeContradictions,
  type ListedContradiction,
  listContradictions,
} from '../../audit/checkpoints/acknowledgementQueries.ts'
import { asOwner } from '../owner.ts'
import { amount, escapeControlCharacters, out, showTable } from '../terminal.ts'
import { withSources } from './sources.ts'

export async function showContradictions({ json }: { json?: true }): Promise<void> {
  const found = await withSources(({ db }) => listContradictions(db))
  if (json) for (const it of found) out(`${JSON.stringify(it)}\n`)
  else if (found.length === 0) out('No log contradicts a checkpoint.\n')
  else show(found)
}

/** Whether there was anything to acknowledge. */
export async function acknowledge(
  session: { tenantId: string; sessionId: string } | undefined,
  reason: string,
): Promise<boolean> {
  const acknowledged = await asOwner((db) => acknowledgeContradictions(db, session, reason))
  if (acknowledged.length === 0) {
    out('There is no contradiction to acknowledge.\n')
    return false
  }
  show(acknowledged)
  out(
    `${amount(acknowledged.length)} acknowledged. The next checkpoint signs each as a discontinuity, with the reason.\n`,
  )
  return true
}

function show(found: readonly ListedContradiction[]): void {
  showTable([
    ['TENANT', 'SESSION', 'CHECKPOINT', 'SIGNED', 'FOUND', 'REASON', 'SINCE', 'ACKNOWLEDGED'],
    ...found.map((it) => [
      escapeControlCharacters(it.tenant ?? '?'),
      escapeControlCharacters(it.session ?? '?'),
      String(it.number),
      String(it.signed_seq),
      it.found_seq === null ? '-' : String(it.found_seq),
      it.reason,
      it.found_at.slice(0, 19),
      it.acknowledged ? 'yes' : 'no',
    ]),
  ])
}
