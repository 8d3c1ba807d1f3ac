import { ownsTable } from '../../db/job.ts'
import { DbSession } from '../../db/session.ts'
import { createLog } from '../../ops/log.ts'
import { tieringStatus } from '../../tiering/queries.ts'
import { TIERING } from '../../tiering/tieringJob.ts'
import { type Checks, failed, ok, warning } from './check.ts'

/** Checks whether this node may move segments to cold storage, and whether damaged sessions stay behind. */
export async function* checkMoves(url: string, timeoutMs: number): Checks {
  let session: DbSession | undefined
  try {
    session = await DbSession.open(url, 'starcite doctor', timeoutMs, createLog('silent'))
    if (await ownsTable(session, TIERING)) yield ok('tiering', 'this node may move segments to cold storage')
    else
      yield warning(
        'tiering',
        'this database user may not move segments',
        'Give at least one node STARCITE_TIERING_URL, or a login that is a member of starcite_tiering.',
      )
    const { setAside } = await tieringStatus(session)
    if (setAside === 0) yield ok('damage', 'no session is set aside by tiering')
    else
      yield warning(
        'damage',
        `${setAside === 1 ? '1 session is' : `${setAside} sessions are`} not moved to cold storage because of a damaged log`,
        '`starcite set-aside` names them; docs/operations.md, "A damaged session", says how to repair one or give it up.',
      )
  } catch (error) {
    yield failed('tiering', error, 'Check STARCITE_TIERING_URL.')
  } finally {
    await session?.stop()
  }
}
