import { expect } from 'chai'
import { Type as TypeBox } from 'typebox'
import { Type } from '../../src/http/jsonSchema.ts'

describe('Type, the builder of JSON Schemas', () => {
  const everything = (build: typeof Type) =>
    build.Object(
      {
        id: build.String({ minLength: 1 }),
        title: build.Optional(build.Union([build.String(), build.Null()], { description: 'for people' })),
        kind: build.Enum(['a', 'b']),
        one: build.Literal(1),
        yes: build.Optional(build.Literal(true)),
        name: build.Literal('x', { title: 'X' }),
        size: build.Integer({ minimum: 0 }),
        share: build.Number(),
        ok: build.Boolean(),
        any: build.Optional(build.Unknown()),
        list: build.Array(build.Object({ x: build.Optional(build.Integer()) }), { maxItems: 3 }),
        own: build.Unsafe<string>({ type: 'string', pattern: '^a' }),
      },
      { additionalProperties: false, title: 'Everything' },
    )

  it('builds byte for byte what TypeBox builds, whose types it has', () => {
    expect(JSON.stringify(everything(Type))).to.equal(JSON.stringify(everything(TypeBox)))
  })

  it('leaves the schema that Optional is given as it was: other objects still require it', () => {
    const name = Type.String()
    Type.Optional(name)

    expect(Type.Object({ name }).required).to.deep.equal(['name'])
  })
})
