import type { TProperties } from 'typebox'
import { Type } from '../jsonSchema.ts'

/** The schema option of objects that have no members beyond those described. */
const CLOSED = { additionalProperties: false } as const

/** An object that the node makes, whose members are all described. */
export const closed = <T extends TProperties>(members: T, options: object = {}) =>
  Type.Object(members, { ...CLOSED, ...options })

/** An object that a client stored. Its text is kept as it was sent. */
export const Verbatim = (description: string) =>
  Type.Object(
    {},
    { additionalProperties: true, description: `${description} The text is exactly as it was sent.` },
  )

export const Seq = (description: string) => Type.Integer({ minimum: 1, description })

export const Count = (description: string) => Type.Integer({ minimum: 0, description })

export const Time = (description: string) =>
  Type.String({
    format: 'date-time',
    pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{6}Z$',
    description: `${description} RFC 3339, UTC, six fractional digits.`,
  })

export const Text = (description: string) => Type.String({ minLength: 1, description })
