import type { Db } from '../db/pool.ts'

const INSUFFICIENT_PRIVILEGE = '42501'

/** Runs something that only the owner of the tables may do, on the database of a node with this environment. */
export async function asOwner<T>(use: (db: Db) => Promise<T>): Promise<T> {
  const [{ withSources }, { DatabaseStartError }] = await Promise.all([
    import('./sources.ts'),
    import('../db/database.ts'),
  ])
  try {
    return await withSources(({ ownerDb }) => use(ownerDb))
  } catch (error) {
    if ((error as { code?: string }).code !== INSUFFICIENT_PRIVILEGE) throw error
    throw new DatabaseStartError(
      `the database user lacks a right (${(error as Error).message}): set STARCITE_TIERING_URL to a login that is a member of starcite_owner`,
      { cause: error },
    )
  }
}
