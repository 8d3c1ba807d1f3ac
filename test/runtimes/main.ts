/**
 * Puts the built client (`npm run build`) to the test in another runtime: `npx tsx test/runtimes/main.ts KIND PROGRAM`,
 * where KIND is `node`, `bun`, `deno` or `workerd`, and PROGRAM its executable. Starts all that it needs.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { build } from 'esbuild'
import { freePort } from '../support/node.ts'
import type { Addresses } from './exercise.ts'
import { startLab } from './lab.ts'

const LIMIT_MS = 120_000

/** Prints the account as JSON, and ends by itself. */
const PROGRAM = 'console.log(JSON.stringify(await run()))'
/** A worker has no end of its own: it gives the account to every request. */
const WORKER = `export default {
  fetch: () => run().then((account) => Response.json(account), (error) => new Response(error.stack, { status: 500 })),
}`

/** One module for all runtimes: the client as it is published, and the exercise. */
async function bundle(addresses: Addresses, end: string): Promise<string> {
  const contents = `
    import * as client from '../../dist/client/entry.js'
    import { exercise } from './exercise.ts'
    const run = () => exercise(client, ${JSON.stringify(addresses)})
    ${end}`
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: import.meta.dirname },
    bundle: true,
    format: 'esm',
    target: 'es2022',
    write: false,
  })
  return outputFiles[0]?.text ?? ''
}

const ARGUMENTS: Readonly<Record<string, readonly string[]>> = {
  node: [],
  bun: ['run'],
  deno: ['run', '--no-prompt', '--no-config', '--allow-net=127.0.0.1'],
}

async function inProgram(program: string, args: readonly string[], script: string): Promise<string[]> {
  const child = spawn(program, [...args, script], { stdio: ['ignore', 'pipe', 'inherit'], timeout: LIMIT_MS })
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  const [code, signal] = await once(child, 'close')
  if (code !== 0) throw new Error(`${program} ended with ${code ?? signal}: ${output}`)
  return JSON.parse(output)
}

async function inWorkerd(program: string, script: string): Promise<string[]> {
  const port = await freePort()
  const config = path.join(path.dirname(script), 'config.capnp')
  await writeFile(
    config,
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .main),
    (name = "internet", network = (allow = ["private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
);
const main :Workerd.Worker = (
  modules = [(name = "worker", esModule = embed "${path.basename(script)}")],
  compatibilityDate = "2026-01-01",
);`,
  )
  const child = spawn(program, ['serve', '--verbose', config], { stdio: ['ignore', 'inherit', 'inherit'] })
  const ended = once(child, 'exit')
  try {
    for (;;) {
      if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}`)
      const answer = await fetch(`http://127.0.0.1:${port}`, { signal: AbortSignal.timeout(LIMIT_MS) }).catch(
        async (error) => {
          if (error.cause?.code !== 'ECONNREFUSED') throw error
          return undefined // it is starting
        },
      )
      if (answer?.ok) return (await answer.json()) as string[]
      if (answer) throw new Error(await answer.text())
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  } finally {
    child.kill()
    await ended
  }
}

const [kind = '', program = ''] = process.argv.slice(2)
const args = ARGUMENTS[kind]
if (program === '' || (args === undefined && kind !== 'workerd'))
  throw new Error('usage: tsx test/runtimes/main.ts node|bun|deno|workerd PROGRAM')
const lab = await startLab()
const dir = await mkdtemp(path.join(tmpdir(), 'starcite-runtime-'))
try {
  const script = path.join(dir, 'exercise.mjs')
  await writeFile(script, await bundle(lab.addresses, args ? PROGRAM : WORKER))
  const account = args ? await inProgram(program, args, script) : await inWorkerd(program, script)
  console.log(`${kind}\n${account.map((line) => `  ${line}`).join('\n')}`)
} finally {
  await rm(dir, { recursive: true, force: true })
  await lab.stop()
}
