import { type GiveUpRequest, giveUpSession, listSetAside } from '../tiering/setAside/operatorQueries.ts'
import { asOwner } from './owner.ts'
import { escapeControlCharacters, out, showTable } from './terminal.ts'

export async function showSetAside(tenant: string | undefined, all: boolean, json: boolean): Promise<void> {
  const found = await asOwner((db) => listSetAside(db, tenant, all))
  if (json) return void out(found.map((it) => `${JSON.stringify(it)}\n`).join(''))
  if (found.length === 0) return void out('No session is set aside.\n')
  showTable([
    ['TENANT', 'SESSION', 'SEQ', 'REASON', 'STATE', 'SINCE', 'DETAIL'],
    ...found.map((it) =>
      [
        it.tenant,
        it.session ?? `sid ${it.sid}`,
        String(it.seq),
        it.reason,
        it.state,
        it.since.slice(0, 19).replace('T', ' '),
        it.detail,
      ].map((cell) => escapeControlCharacters(cell ?? '')),
    ),
  ])
}

const REFUSALS = {
  session_not_found: 'there is no such session',
  not_set_aside: 'the session is not set aside',
  cannot_be_given_up: 'an event is stored twice; delete the surplus row (docs/operations.md)',
} as const

export async function giveUp(request: GiveUpRequest): Promise<void> {
  const outcome = await asOwner((db) => giveUpSession(db, request))
  const name = `session ${escapeControlCharacters(request.sessionId)} of tenant ${escapeControlCharacters(request.tenantId)}`
  if (outcome !== 'given_up') throw new Error(`${outcome}: ${name}: ${REFUSALS[outcome]}`)
  out(`The next pass of the tiering job moves ${name} as it is. Verification goes on reporting the damage.\n`)
}
