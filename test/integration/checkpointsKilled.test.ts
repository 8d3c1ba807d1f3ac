import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect } from 'chai'
import type { CheckpointStep } from '../../src/audit/checkpoints/checkpointer.ts'
import { trustedKeys } from '../../src/audit/checkpoints/signer.ts'
import { checkpointTable } from '../../src/audit/checkpoints/verify/queries.ts'
import { StoredLogs } from '../../src/audit/checkpoints/verify/storedLogs.ts'
import { verifyCheckpoints } from '../../src/audit/checkpoints/verify/verify.ts'
import { checkpointJob, newKey, takeCheckpoint } from '../support/checkpoints.ts'
import { programOf } from '../support/programs.ts'
import { TieringLab } from '../support/tiering.ts'
import { until } from '../support/until.ts'

const PROGRAM = programOf('test/support/checkpointProgram.ts')
const { signer, privatePem, publicPem } = newKey()

/** In the order in which a checkpoint goes through them, and which one is then the next that is taken. */
const STEPS: readonly (readonly [CheckpointStep, number])[] = [
  ['gathered', 2],
  ['leaves', 2],
  ['noted', 3],
  ['written', 3],
  ['stored', 3],
]

describe('taking a checkpoint', function () {
  this.timeout(120_000)

  /** Runs in a process of its own, until it kills itself; answers at which step. */
  async function killed(lab: TieringLab, nth: number): Promise<string> {
    const args = [...PROGRAM, lab.database.url, privatePem, String(nth)]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    let step = ''
    child.stdout.on('data', (chunk) => {
      step += chunk
    })
    const [, signal] = await once(child, 'close')
    expect(signal).to.equal('SIGKILL')
    return step
  }

  async function verify(lab: TieringLab) {
    const findings: unknown[] = []
    const { checkpoints } = await verifyCheckpoints({
      store: lab.store,
      table: checkpointTable(lab.pool),
      logs: new StoredLogs(lab.pool, lab.store),
      keys: trustedKeys([publicPem]),
      anchors: [],
      since: 1,
      signal: new AbortController().signal,
      onFinding: (finding) => findings.push(finding),
    })
    return { findings, checkpoints }
  }

  it('is killed (SIGKILL) at every step: the next one goes on from there, covers all, and the chain verifies', async () => {
    const killedAt = await Promise.all(
      STEPS.map(async ([step, next], i) => {
        const lab = await TieringLab.open()
        try {
          const append = (...sessions: string[]) => lab.append(sessions.map((session) => ({ session })))
          for (const id of ['before', 'during', 'after']) await lab.session(id)
          await append('before', 'during')
          await takeCheckpoint(lab, { signer })
          await append('during', 'during')
          const at = await killed(lab, i + 1)
          await append('during', 'after')

          const taken = await until('another process takes one', async () => {
            const result = await checkpointJob(lab, { signer }).pass() // Postgres may not know yet that the first is gone
            return result.ran ? result.taken : undefined
          })

          expect(
            taken.map((checkpoint) => checkpoint.number),
            step,
          ).to.deep.equal([next])
          expect(await verify(lab), step).to.deep.equal({ findings: [], checkpoints: next })
          const { rows } = await lab.db.query(
            `select s.id, c.last_seq::int as covered, h.last_seq::int as is
               from starcite.sessions s join starcite.session_heads h using (sid)
               left join starcite.checkpoint_heads c using (sid) order by s.id`,
          )
          expect(rows, step).to.deep.equal([
            { id: 'after', covered: 1, is: 1 },
            { id: 'before', covered: 1, is: 1 },
            { id: 'during', covered: 4, is: 4 },
          ])
          return at
        } finally {
          await lab.close()
        }
      }),
    )
    expect(killedAt).to.deep.equal(STEPS.map(([step]) => step))
  })
})
