import { gunzipSync } from 'node:zlib'
import { expect } from 'chai'
import fc from 'fast-check'
import { archiveLine, renderedEventOfLine } from '../../src/archive/line.ts'
import { checkSlice, packSlice, unpackSlice } from '../../src/archive/slice.ts'
import { type RenderedEvent, renderEvent, type StoredEvent } from '../../src/protocol/event.ts'

const HASHES = {
  salt: 'ab'.repeat(16),
  contentDigest: 'cd'.repeat(32),
  hash: 'ef'.repeat(32),
  chainVersion: 2,
}

/** Names and texts that look like what a line has behind its frame. */
const treacherous = fc.constantFrom(
  ',"session_id":',
  '"session_id":"x"',
  ',"session_id":"x","salt":null',
  ',"line_feeds":[1]}',
  '}\n{"seq":2,',
  '\\',
  '"',
  '\u2028',
  '💾',
)
const text = fc.oneof(treacherous, fc.string({ unit: 'grapheme' }), fc.string({ unit: 'binary' }))
const anyJson = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom(null, true, {}, [], 0, 12345678901234567890n.toString()),
    text,
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.oneof(text, fc.constantFrom('session_id', 'salt', 'line_feeds')), tie('value'), {
      maxKeys: 3,
    }),
  ),
})).value
/** As Postgres's json may hold it: any layout, escapes of lone surrogates, numbers of any length. */
const jsonText = fc.oneof(
  fc
    .tuple(anyJson, fc.constantFrom(undefined, 1, '\t', '\n', '\r\n'))
    .map(([value, indent]) => JSON.stringify(value, null, indent as string | undefined)),
  fc.constantFrom(
    '{}',
    '"\\ud83d"',
    '"\\ud83d,\\"session_id\\":"',
    '\n{ \r\n}\n',
    '1e400',
    '-0.10',
    '[\n\n]',
  ),
  fc.constant(
    '{"a":{"b":[{"session_id":"c","salt":null,"content_digest":"d","hash":"e","line_feeds":[3]}]}}',
  ),
)
const wellFormed = text.map((part) => part.toWellFormed())
const optional = fc.option(wellFormed, { nil: null })
const event: fc.Arbitrary<StoredEvent> = fc.record({
  seq: fc.integer({ min: 1, max: 2 ** 40 }),
  type: wellFormed,
  payload: jsonText,
  actor: wellFormed,
  subject: optional,
  source: optional,
  producerId: optional,
  producerSeq: fc.nat(),
  idempotencyKey: optional,
  metadata: jsonText,
  refs: jsonText,
  insertedAt: fc.constant('2026-11-23T14:25:25.410000Z'),
})

const archived = (frame: RenderedEvent, salt: string | null = HASHES.salt) => ({
  ...HASHES,
  salt,
  rendered: frame,
})

describe('a slice', () => {
  it('returns each frame byte for byte, with any content (I5)', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(event, { minLength: 1, maxLength: 5 }),
        wellFormed,
        async (events, sessionId) => {
          const frames = events.map((event, i) => renderEvent({ ...event, seq: 7 + i }))
          const lines = frames.map((frame) => archiveLine(sessionId, archived(frame)))

          const member = await packSlice(lines.join(''))

          await checkSlice(member, 7, 6 + frames.length)
          const unpacked = await unpackSlice(member, 7, 6 + frames.length)
          expect(unpacked.map(({ text }) => text)).to.deep.equal(frames.map(({ text }) => text))
          expect(unpacked.map(({ seq }) => seq)).to.deep.equal(frames.map(({ seq }) => seq))
        },
      ),
      { numRuns: 300 },
    )
  })

  it('is NDJSON: one line an event, with the session and the hashes beside the frame', () => {
    fc.assert(
      fc.property(event, wellFormed, fc.boolean(), (stored, sessionId, isErased) => {
        const frame = renderEvent(stored)

        const line = archiveLine(sessionId, archived(frame, isErased ? null : HASHES.salt))

        expect(line.indexOf('\n')).to.equal(line.length - 1)
        const { line_feeds: lineFeeds, ...members } = JSON.parse(line)
        expect(members).to.deep.equal({
          ...JSON.parse(frame.text),
          session_id: sessionId,
          salt: isErased ? null : HASHES.salt,
          content_digest: HASHES.contentDigest,
          hash: HASHES.hash,
          chain_version: 2,
        })
        expect(lineFeeds !== undefined).to.equal(frame.text.includes('\n'))
      }),
      { numRuns: 300 },
    )
  })

  it('tells where line feeds stood in a payload that was sent over several lines, in bytes', () => {
    const frame = renderEvent({
      seq: 1,
      type: 'ü',
      payload: '{\n}',
      actor: 'a',
      subject: null,
      source: null,
      producerId: null,
      producerSeq: null,
      idempotencyKey: null,
      metadata: '{}',
      refs: '{}',
      insertedAt: '2026-11-23T14:25:25.410000Z',
    })

    const line = archiveLine('s', archived(frame))

    expect(line).to.equal(
      '{"seq":1,"type":"ü","payload":{ },"actor":"a","metadata":{},"refs":{},"inserted_at":"2026-11-23T14:25:25.410000Z"' +
        `,"session_id":"s","salt":"${HASHES.salt}","content_digest":"${HASHES.contentDigest}","hash":"${HASHES.hash}","chain_version":2,"line_feeds":[32]}\n`,
    )
    expect(Buffer.from(frame.text)[32]).to.equal(0x0a)
    expect(renderedEventOfLine(line.trimEnd(), 1).text).to.equal(frame.text)
  })

  it('is a gzip file of its own, and so are several in a row', async () => {
    const members = await Promise.all(['one\n', 'two\n'].map(packSlice))

    expect(gunzipSync(Buffer.concat(members)).toString()).to.equal('one\ntwo\n')
  })

  it('does not pass a check with a line too few or too many, or when it does not open', async () => {
    const member = await packSlice('{"seq":1}\n{"seq":2}\n')

    await checkSlice(member, 1, 2)
    for (const attempt of [
      () => checkSlice(member, 1, 1),
      () => checkSlice(member, 1, 3),
      () => checkSlice(member.subarray(1), 1, 2),
    ])
      expect(await attempt().catch((error: Error) => error)).to.be.instanceOf(Error)
  })

  for (const [what, lines] of Object.entries({
    'fewer lines': '{"seq":1,"session_id":"s"}\n',
    'more lines': '{"seq":1,"session_id":"s"}\n{"seq":2,"session_id":"s"}\n{"seq":3,"session_id":"s"}\n',
    'other events': '{"seq":1,"session_id":"s"}\n{"seq":3,"session_id":"s"}\n',
    'lines of something else': '{"seq":1,"session_id":"s"}\n{"seq":2,}\n',
    'an end without a line feed': '{"seq":1,"session_id":"s"}\n{"seq":2,"session_id":"s"}',
  }))
    it(`with ${what} than it should have is refused`, async () => {
      const refusal = await unpackSlice(await packSlice(lines), 1, 2).catch((error: Error) => error)

      expect(refusal).to.be.instanceOf(Error)
    })
})
