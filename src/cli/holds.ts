import { type HoldRequest, holdSession, listHolds, releaseSession } from '../sessions/holdQueries.ts'
import { asOwner } from './owner.ts'
import { escapeControlCharacters, out, showTable } from './terminal.ts'

export async function addHold(request: HoldRequest, reason: string): Promise<void> {
  const outcome = await asOwner((db) => holdSession(db, request, reason))
  if (outcome !== 'held') throw new Error(`${outcome}: ${nameOf(request)} cannot be held`)
  out(`${nameOf(request)} is under a legal hold.\n`)
}

export async function releaseHold(request: HoldRequest): Promise<void> {
  const outcome = await asOwner((db) => releaseSession(db, request))
  if (outcome !== 'released') throw new Error(`${outcome}: ${nameOf(request)} is under no legal hold`)
  out(`${nameOf(request)} is under no legal hold any more.\n`)
}

export async function showHolds(tenant: string | undefined, json: boolean): Promise<void> {
  const holds = await asOwner((db) => listHolds(db, tenant))
  if (json) return void out(holds.map((it) => `${JSON.stringify(it)}\n`).join(''))
  if (holds.length === 0) return void out('Nothing is under a legal hold.\n')
  showTable([
    ['TENANT', 'SESSION', 'SINCE', 'BY', 'REASON'],
    ...holds.map((it) =>
      [it.tenant, it.session, it.held_at.slice(0, 19).replace('T', ' '), it.subject, it.reason].map((cell) =>
        escapeControlCharacters(cell ?? ''),
      ),
    ),
  ])
}

const nameOf = ({ tenantId, sessionId }: HoldRequest) =>
  `session ${escapeControlCharacters(sessionId)} of tenant ${escapeControlCharacters(tenantId)}`
