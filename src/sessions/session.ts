/** A session as it is stored. `metadata` and `creatorPrincipal` are JSON text, as they were sent. */
export interface Session {
  /** Internal number of the session; never shown. */
  readonly sid: string
  readonly tenantId: string
  readonly id: string
  readonly title: string | null
  readonly metadata: string
  readonly creatorPrincipal: string | null
  readonly lastSeq: number
  /** Counts removals of content; never shown. */
  readonly epoch: number
  readonly version: number
  readonly archived: boolean
  readonly createdAt: string
  readonly updatedAt: string
  readonly erased: boolean
}

/** The one shape of a session on the wire, as JSON text. */
export function renderSession(session: Session): string {
  const creator = session.creatorPrincipal === null ? '' : `,"creator_principal":${session.creatorPrincipal}`
  return (
    `{"id":${JSON.stringify(session.id)},"title":${JSON.stringify(session.title)},"metadata":${session.metadata}` +
    `,"tenant_id":${JSON.stringify(session.tenantId)}${creator},"last_seq":${session.lastSeq}` +
    `,"version":${session.version},"archived":${session.archived}` +
    `,"created_at":"${session.createdAt}","updated_at":"${session.updatedAt}"}`
  )
}
