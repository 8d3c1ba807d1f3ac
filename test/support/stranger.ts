import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import { connect } from './template.ts'

/**
 * Calls `run` with a connection of a role of its own that may connect to the database, as every login may, and has been
 * granted nothing else.
 */
export async function asStranger<T>(
  database: { url: string },
  admin: pg.Client,
  run: (stranger: pg.Client) => Promise<T>,
): Promise<T> {
  const role = `stranger_${randomUUID().replaceAll('-', '')}`
  await admin.query(`create role ${role} login password 'of a stranger'`)
  try {
    const url = new URL(database.url)
    url.username = role
    url.password = 'of a stranger'
    const stranger = await connect({ url: url.href })
    try {
      return await run(stranger)
    } finally {
      await stranger.end()
    }
  } finally {
    await admin.query(`drop owned by ${role}; drop role ${role}`)
  }
}
