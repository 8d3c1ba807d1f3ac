import { parseArgs } from 'node:util'

export interface Options {
  /** Ids of rows, or names of their groups; empty means all. */
  readonly only: readonly string[]
  readonly seconds: number
  /** Where results go; undefined when a part was run and no place was named. */
  readonly json: string | undefined
  readonly profileDir: string | undefined
}

const USAGE = `npm run bench -- [options]

  --only NAMES     rows or groups of rows, by comma: ours, hot-64, replay, … (then nothing is written, unless --json)
  --seconds N      how long each row is measured, over all its rounds (5)
  --json PATH      where the results go, with the plot beside them (docs/bench/results.json)
  --profile DIR    write a CPU profile of each node there`

export function readOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: 'string', multiple: true, default: [] },
      seconds: { type: 'string', default: '5' },
      json: { type: 'string' },
      profile: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(USAGE)
    process.exit(0)
  }
  const only = values.only.flatMap((names) => names.split(',')).filter((name) => name !== '')
  const seconds = Number(values.seconds)
  if (!(seconds > 0)) throw new Error(`--seconds must be a number above 0; it is ${values.seconds}`)
  const everywhere = only.length === 0 ? 'docs/bench/results.json' : undefined
  return { only, seconds, json: values.json ?? everywhere, profileDir: values.profile }
}
