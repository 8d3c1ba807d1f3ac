import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect } from 'chai'
import { insertChained } from '../support/chainedEvents.ts'
import { IS_NIGHTLY } from '../support/nightly.ts'
import { programOf } from '../support/programs.ts'
import { TieringLab } from '../support/tiering.ts'
import { use } from '../support/use.ts'

/** `STARCITE_TEST_SEGMENT_EVENTS=5000000` for a large segment. */
const EVENTS = Number(process.env.STARCITE_TEST_SEGMENT_EVENTS ?? 100_000)
const SESSIONS = 100
/** As text the events are larger than this; the program and its compiler take half of it. */
const HEAP_MB = 56
const PROGRAM = programOf('test/support/tieringProgram.ts')

/** Half of the events are of one session. */
const FILL = insertChained(`
  select e.sid::bigint as sid, row_number() over (partition by e.sid order by e.n) as seq, clock_timestamp() as at,
         'content'::text as type, 'agent:drafter'::text as actor,
         json_build_object('text', repeat(md5(e.n::text) || ' and some words ', 4)) as payload,
         decode(md5(e.n::text), 'hex') as salt
    from (select n, case when n % 2 = 0 then 1 else n / 2 % ($2 - 1) + 2 end as sid from generate_series(0, $1::int - 1) n) e`)

describe('moving a large segment', function () {
  this.timeout(60_000 + EVENTS / 5)
  const lab = use(() => TieringLab.open())

  before(async () => {
    await lab.db.query(`update starcite.settings s set value = '1 day' where s.name = 'segment_interval'`)
    await lab.db.query(`select starcite.ensure_segment(clock_timestamp())`)
    await lab.db.query(
      `select starcite.create_session('default', 's' || n) from generate_series(1, $1::int) n`,
      [SESSIONS],
    )
    await lab.db.query(FILL, [EVENTS, SESSIONS])
  })

  it(`needs memory for what is under way only: ${EVENTS.toLocaleString('en')} events with a heap of ${HEAP_MB} MB`, async () => {
    const child = spawn(
      process.execPath,
      [`--max-old-space-size=${HEAP_MB}`, ...PROGRAM, lab.database.url, '0'],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    let output = ''
    child.stdout.on('data', (chunk) => {
      output += chunk
    })
    const [code] = await once(child, 'close')

    expect(code).to.equal(0)
    const { events, peakBytes } = JSON.parse(output)
    if (process.env.STARCITE_TEST_FIGURES)
      console.log(`      ${events} events, at most ${peakBytes / 2 ** 20} MB resident`)
    expect(events).to.equal(EVENTS)
    if (IS_NIGHTLY) expect(peakBytes).to.be.below(300 * 2 ** 20)
    expect(await lab.count('events')).to.equal(0)
    const read = await lab.tail('2')
    expect(read).to.have.lengthOf(await lab.lastSeq('2'))
  })
})
