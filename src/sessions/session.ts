/** A session as it is stored. `metadata` and `creatorPrincipal` are JSON text, as they were sent. */
export interface Session {
  /** Internal number of the session; never on the wire. */
  readonly sid: string
  readonly tenantId: string
  readonly id: string
  readonly title: string | null
  readonly metadata: string
  readonly creatorPrincipal: string | null
  readonly lastSeq: number
  /** `inserted_at` of the newest event in microseconds since 1970, 0 without events; never on the wire. */
  readonly lastEventAt: number
  /** Counts removals of content; never on the wire. */
  readonly epoch: number
  readonly version: number
  readonly archived: boolean
  readonly createdAt: string
  readonly updatedAt: string
  readonly erased: boolean
}

/** What a reader has seen of a session's log. Long readers keep this and not the session, whose metadata may be large. */
export const seenLog = ({ tenantId, id, lastSeq, lastEventAt, epoch }: Session) => ({
  tenantId,
  id,
  lastSeq,
  lastEventAt,
  epoch,
})

/** Renders a session as JSON text: its only form on the wire. */
export function renderSession(session: Session): string {
  const creator = session.creatorPrincipal === null ? '' : `,"creator_principal":${session.creatorPrincipal}`
  return (
    `{"id":${JSON.stringify(session.id)},"title":${JSON.stringify(session.title)},"metadata":${session.metadata}` +
    `,"tenant_id":${JSON.stringify(session.tenantId)}${creator},"last_seq":${session.lastSeq}` +
    `,"version":${session.version},"archived":${session.archived}` +
    `,"created_at":"${session.createdAt}","updated_at":"${session.updatedAt}"}`
  )
}
