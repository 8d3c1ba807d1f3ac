interface Schema {
  readonly type?: string
  readonly anyOf?: readonly Schema[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly minimum?: number
}

/**
 * A value that the JSON schema allows: of an object the required members, or else the first one; a member that names a
 * session is `sessionId`.
 */
export function sampleOf(schema: object, sessionId: string): unknown {
  const { type, anyOf, items, minimum, properties = {}, required = [] } = schema as Schema
  if (anyOf?.[0]) return sampleOf(anyOf[0], sessionId)
  switch (type) {
    case 'object': {
      const names = required.length > 0 ? required : Object.keys(properties).slice(0, 1)
      return Object.fromEntries(
        names.map((name) => [name, sampleOfMember(name, properties[name] ?? {}, sessionId)]),
      )
    }
    case 'array':
      return [sampleOf(items ?? {}, sessionId)]
    case 'integer':
      return minimum ?? 0
    case 'boolean':
      return false
    default:
      return 'sample'
  }
}

const sampleOfMember = (name: string, schema: Schema, sessionId: string): unknown =>
  name === 'id' || name === 'session_id' ? sessionId : sampleOf(schema, sessionId)
