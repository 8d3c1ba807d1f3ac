import { DatabaseStartError } from '../db/database.ts'
import type { Db } from '../db/pool.ts'
import { withSources } from './audit/sources.ts'

const INSUFFICIENT_PRIVILEGE = '42501'

/** For what only the owner of the tables may do, with the environment of a node. */
export async function asOwner<T>(use: (db: Db) => Promise<T>): Promise<T> {
  try {
    return await withSources(({ ownerDb }) => use(ownerDb))
  } catch (error) {
    if ((error as { code?: string }).code !== INSUFFICIENT_PRIVILEGE) throw error
    throw new DatabaseStartError(
      `this database user may not (${(error as Error).message}): STARCITE_TIERING_URL must be that of a member of starcite_owner`,
      { cause: error },
    )
  }
}
