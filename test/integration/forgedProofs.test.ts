import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { expect } from 'chai'
import { trustedKeys } from '../../src/audit/checkpoints/signer.ts'
import { checkProof } from '../../src/audit/proofs/check.ts'
import { prove } from '../../src/audit/proofs/prove.ts'
import { newKey, takeCheckpoint } from '../support/checkpoints.ts'
import {
  type Forged,
  forgeries,
  formTwoReadAsFormOne,
  keyWithin,
  movedBytes,
} from '../support/forgedProofs.ts'
import { appendInFormOne } from '../support/formOne.ts'
import { makeScratch } from '../support/scratch.ts'
import { TieringLab } from '../support/tiering.ts'

const { signer, publicPem } = newKey()
const stranger = newKey().signer
const keys = trustedKeys([publicPem])
const signBy = (key: typeof signer) => async (body: string) =>
  (await key.sign(Buffer.from(body))).toString('base64')
const run = promisify(execFile)

/** The script of the page, as a reader saves it. */
const script = /```js\n(\/\/ node check-proof\.mjs[\s\S]*?)```/.exec(
  readFileSync(new URL('../../docs/proofs.md', import.meta.url), 'utf8'),
)?.[1] as string

describe('forged proofs', function () {
  this.timeout(120_000)
  let lab: TieringLab
  let folder: string
  const genuine: Forged[] = []
  let forged: Forged[]
  let files = 0

  before(async () => {
    folder = await makeScratch('forged')
    writeFileSync(path.join(folder, 'check-proof.mjs'), script)
    writeFileSync(path.join(folder, 'public.pem'), publicPem)
    lab = await TieringLab.open()
    for (const session of ['a', 'b', 'mixed', 'old', 'z']) await lab.session(session, 'acme')
    for (const session of ['a', 'b', 'z'])
      await lab.append(
        Array.from({ length: 7 }, (_, i) => ({
          ...{ tenant: 'acme', session, subject: 'service:s', source: 'web' },
          payload: `{"n":${i}}`,
          metadata: '{"m":1}',
        })),
      )
    await appendInFormOne(lab.db, 'acme', 'mixed', [{}, {}])
    await lab.append([1, 2].map(() => ({ tenant: 'acme', session: 'mixed' })))
    await appendInFormOne(lab.db, 'acme', 'old', [{}, { key: keyWithin(2).key }, {}])
    await takeCheckpoint(lab, { signer })

    const made = (sessionId: string, seq: number) =>
      prove(lab.pool, lab.store, { tenantId: 'acme', sessionId, seq, hasContent: true })
    const [two, mixed, other] = [await made('b', 3), await made('mixed', 2), await made('a', 3)]
    const ofOld = await made('old', 2)
    const old = { ...ofOld, format: 'starcite-proof/1', links: ofOld.links.map((link) => link.link) }
    for (const [title, proof] of Object.entries({ two, mixed, old, other }))
      genuine.push({ title, text: JSON.stringify(proof) })
    forged = [
      ...(await forgeries({ two, mixed, old, other }, signBy(signer), signBy(stranger))),
      movedBytes(old),
      await formTwoReadAsFormOne(signBy(signer), signer.keyId),
    ]
  })
  after(async () => {
    await lab?.close()
    await rm(folder, { recursive: true, force: true })
  })

  const scriptFile = () => path.join(folder, 'check-proof.mjs')
  const keyFile = () => path.join(folder, 'public.pem')

  function fileOf({ text }: Forged): string {
    files += 1
    const file = path.join(folder, `${files}.json`)
    writeFileSync(file, text)
    return file
  }

  /** What the page's script says of each, in a thread, which takes a fraction of the time of a process. */
  async function byPage(all: readonly Forged[]): Promise<string[]> {
    const said: string[] = []
    for (const proof of all) {
      const worker = new Worker(scriptFile(), { argv: [fileOf(proof), keyFile()], stdout: true })
      let failure: Error | undefined
      worker.on('error', (error) => {
        failure = error
      })
      const [[code], printed] = await Promise.all([once(worker, 'exit'), text(worker.stdout)])
      said.push(failure === undefined && code <= 1 ? printed : `${code}: ${failure?.stack}`)
    }
    return said
  }

  it('begin with genuine ones, of both formats, which every checker takes', async () => {
    for (const { title, text } of genuine)
      expect(checkProof(text, keys), title).to.include({ tenantId: 'acme' })
    for (const proof of genuine) {
      const { stdout } = await run(process.execPath, [scriptFile(), fileOf(proof), keyFile()])
      expect(stdout, proof.title).to.match(/^GOOD: /)
    }
    for (const said of await byPage(genuine)) expect(said).to.match(/^GOOD: /)
  })

  it('are all different from what is genuine, and from one another', () => {
    const texts = [...genuine, ...forged].map(({ text }) => text)
    expect(new Set(texts).size).to.equal(texts.length)
    expect(forged).to.have.lengthOf.above(120)
  })

  it('are refused by the checker', () => {
    const taken = forged.filter(({ text }) => {
      try {
        checkProof(text, keys)
        return true
      } catch (error) {
        expect(error).to.have.property('name', 'ProofError')
        return false
      }
    })
    expect(taken.map((proof) => proof.title)).to.deep.equal([])
  })

  it("are refused by the page's script, in its own words", async () => {
    const said = await byPage(forged)
    const taken = forged.filter((_, i) => !said[i]?.startsWith('WRONG: '))
    expect(taken.map((proof) => `${proof.title}: ${said[forged.indexOf(proof)]}`)).to.deep.equal([])
  })
})
