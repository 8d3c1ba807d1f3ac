import { type ProofRequest, prove } from '../../audit/proofs/prove.ts'
import { amount, err, out } from '../terminal.ts'
import { writeNewFile } from './newFile.ts'
import { withSources } from './sources.ts'

/** Makes a proof, and writes it to a file that was not there, or to standard output. */
export async function makeProof(request: ProofRequest, output: string | undefined): Promise<void> {
  const proof = await withSources(({ db, store }) => prove(db, store, request))
  const text = `${JSON.stringify(proof, null, 2)}\n`
  if (output === undefined) out(text)
  else await writeNewFile('--output', output, text)
  const { number, time } = JSON.parse(proof.checkpoint) as { number: number; time: string }
  const others = proof.links.length - 1
  const shown = `${output ?? 'The proof'}: event ${request.seq} is covered by checkpoint ${number} of ${time}`
  const envelopes = others === 0 ? '' : `, and type, actor and time of the ${amount(others)} after it`
  err(
    `${shown}. It shows ${proof.event === null ? 'the digest of its content' : 'its content'}${envelopes}.\n`,
  )
}
