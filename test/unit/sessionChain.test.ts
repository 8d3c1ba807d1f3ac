import { expect } from 'chai'
import { chainStep, contentDigest, eventLink, genesisHash } from '../../src/archive/chain.ts'
import { EventHasher } from '../../src/archive/eventHasher.ts'
import { archiveLine, redactLine } from '../../src/archive/line.ts'
import { SessionChain } from '../../src/archive/sessionChain.ts'
import { renderEvent } from '../../src/protocol/event.ts'

const SALT = Buffer.alloc(16, 7)

/** The line of a session's first event, with a chain that is right. */
function firstLine(): string {
  const event = {
    chainVersion: 2 as const,
    seq: 1,
    insertedAt: '2026-11-24T14:25:25.410000Z',
    type: 'said',
    actor: 'user:ann',
    source: null,
    producerId: null,
    producerSeq: null,
    idempotencyKey: null,
    subject: null,
  }
  const content = { payload: ' {"text":"\\ud83d"}\n', metadata: '{}', refs: '{"to":"bob"}' }
  const digest = contentDigest(SALT, content.payload, content.metadata, content.refs)
  return archiveLine('ses', {
    rendered: renderEvent({ ...event, ...content }),
    salt: SALT.toString('hex'),
    contentDigest: digest.toString('hex'),
    hash: chainStep(2, genesisHash('acme', 'ses'), eventLink({ ...event, contentDigest: digest })).toString(
      'hex',
    ),
    chainVersion: 2,
  })
}

const problemOf = (line: string) => new SessionChain(new EventHasher(), 'acme', 'ses').add(Buffer.from(line))

describe('the chain of one session', () => {
  it('follows what is right, with its content and without', () => {
    expect(problemOf(firstLine())).to.equal(undefined)
    expect(problemOf(`${redactLine(firstLine().trimEnd(), 1)}\n`)).to.equal(undefined)
  })

  it('is not followed where only a part of the content is gone', () => {
    const redacted = redactLine(firstLine().trimEnd(), 1)
    for (const member of ['payload', 'metadata', 'refs']) {
      const kept = `${redacted.replace(`"${member}":{}`, `"${member}":{"kept":1}`)}\n`
      expect(problemOf(kept), member).to.include({ seq: 1, reason: 'changed' })
    }
  })

  it('says what is wrong with a line that is damaged, wherever that is', () => {
    for (const [from, to] of [
      ['"type":"said"', '"type":"sa\\qd"'],
      ['"actor":"user:ann"', '"actor":"user:\\uZZZZ"'],
      ['"salt":"07', '"salt":"zz'],
      ['"line_feeds":[', '"line_feeds":[9999,'],
      ['{"seq":1', '{"sec":1'],
    ] as const) {
      expect(firstLine()).to.include(from)
      expect(problemOf(firstLine().replace(from, to)), from).to.include({ seq: 1, reason: 'changed' })
    }
  })
})
