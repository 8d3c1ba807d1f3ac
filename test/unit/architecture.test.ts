import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect } from 'chai'

/**
 * Who may import whom (docs/architecture.md, "Layout and direction"). A directory imports itself, and the directories
 * of every layer below its own. config.ts is the one file that all but the lowest layers may know, and only its type.
 */
const LAYERS: readonly (readonly string[])[] = [
  ['protocol', 'lib'],
  ['ops'],
  ['db', 'objects', 'archive', 'auth'],
  ['sessions', 'append', 'live', 'tail', 'tiering', 'lifecycle', 'audit'],
  ['http'],
]
/** Importer to directory of its own layer. */
const SIDEWAYS: Readonly<Record<string, readonly string[]>> = {
  tail: ['live'],
  objects: ['db'],
}
/** These stand apart from the layers. */
const APART: Readonly<Record<string, readonly string[]>> = {
  client: ['protocol'],
  console: ['client', 'protocol'],
}
/** The composition root and the command line may import everything. */
const ROOT = ['main.ts', 'service.ts', 'wiring', 'gauges.ts', 'cli']
const MAY_EXIT = ['cli']
const MAY_HOLD_SQL = /^db\/|(^|\/)(queries|\w+Queries)\.ts$/
const SRC = new URL('../../src/', import.meta.url)

interface Import {
  readonly from: string
  /** A file of src/, as a path in it, or the name of a package. */
  readonly to: string
  readonly isPackage: boolean
  readonly isTypeOnly: boolean
  /** Loaded when the code runs that names it. */
  readonly isDynamic: boolean
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .map((file) => file.split(path.sep).join('/'))
  .filter((file) => file.endsWith('.ts'))
const sources = new Map(files.map((file) => [file, readFileSync(new URL(file, SRC), 'utf8')]))
const imports = [...sources].flatMap(([file, source]) => importsOf(file, source))

function importsOf(from: string, source: string): Import[] {
  const found = source.matchAll(
    /^(?:import|export)\s+(?<what>[^'"]*?from\s+)?'(?<to>[^']+)'|import\('(?<dynamic>[^']+)'\)/gm,
  )
  return [...found].map(({ groups }) => {
    const to = groups?.to ?? groups?.dynamic ?? ''
    const names = /\{([^}]*)\}/
      .exec(groups?.what ?? '')?.[1]
      ?.split(',')
      .filter((name) => name.trim() !== '')
    const isTypeOnly =
      /^type\b/.test(groups?.what ?? '') || (names?.every((name) => /^\s*type\s/.test(name)) ?? false)
    const isPackage = !to.startsWith('.')
    const isDynamic = groups?.dynamic !== undefined
    return {
      from,
      to: isPackage ? to : path.posix.join(path.posix.dirname(from), to),
      isPackage,
      isTypeOnly,
      isDynamic,
    }
  })
}

/** `http` of `http/api/tail.ts`; the file itself when it lies at the top. */
const home = (file: string) => file.split('/')[0] as string
const layerOf = (directory: string) => LAYERS.findIndex((layer) => layer.includes(directory))

function isAllowed({ from, to, isPackage, isTypeOnly }: Import): boolean {
  const [here, there] = [home(from), home(to)]
  if (isPackage) return here !== 'protocol' && here !== 'client'
  if (ROOT.includes(here) || here === there) return true
  if (here in APART) return APART[here]?.includes(there) ?? false
  if (there === 'config.ts') return isTypeOnly && layerOf(here) >= layerOf('db')
  if (here === 'config.ts') return there === 'config' || there === 'lib'
  if (here === 'config') return there === 'lib'
  if (SIDEWAYS[here]?.includes(there)) return true
  return layerOf(there) >= 0 && layerOf(there) < layerOf(here)
}

/** Code without comments. */
const codeOf = (source: string) => source.replaceAll(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm, '')

function offenders(pattern: RegExp, isExempt: (file: string) => boolean): string[] {
  return [...sources]
    .filter(([file, source]) => !isExempt(file) && pattern.test(codeOf(source)))
    .map(([file]) => file)
}

describe('the architecture', () => {
  it('is read from the sources', () => {
    expect(files).to.include.members(['main.ts', 'http/api/tail.ts'])
    expect(imports).to.deep.include({
      from: 'http/api/tail.ts',
      to: 'protocol/errors.ts',
      isPackage: false,
      isTypeOnly: false,
      isDynamic: false,
    })
  })

  it('has a place for every directory', () => {
    const known = [...LAYERS.flat(), ...Object.keys(APART), ...ROOT, 'config.ts', 'config']

    expect([...new Set(files.map(home))].filter((room) => !known.includes(room))).to.deep.equal([])
  })

  it('lets imports point down, and sideways only from tail to live and from objects to db', () => {
    const wrong = imports.filter((edge) => !isAllowed(edge)).map(({ from, to }) => `${from} → ${to}`)

    expect(wrong).to.deep.equal([])
  })

  it('has no cycle of imports', () => {
    const next = new Map(
      files.map((file) => [file, imports.filter((edge) => edge.from === file && !edge.isPackage)]),
    )
    const done = new Set<string>()
    const cycles: string[] = []
    const visit = (file: string, trail: readonly string[]) => {
      if (trail.includes(file)) cycles.push([...trail.slice(trail.indexOf(file)), file].join(' → '))
      if (trail.includes(file) || done.has(file)) return
      for (const { to } of next.get(file) ?? []) visit(to, [...trail, file])
      done.add(file)
    }

    for (const file of files) visit(file, [])

    expect(cycles).to.deep.equal([])
  })

  it('has no default export and no barrel', () => {
    expect(offenders(/^export\s+default\b|\bas\s+default\b/m, () => false)).to.deep.equal([])
    expect(offenders(/^export\s[^'"=]*\sfrom\s/m, () => false)).to.deep.equal([])
  })

  /** Packages that a file loads when it is loaded, directly or through other files. */
  const packagesOf = (file: string, seen = new Set<string>()): string[] => {
    if (seen.has(file)) return []
    seen.add(file)
    return imports
      .filter((edge) => edge.from === file && !edge.isTypeOnly && !edge.isDynamic)
      .flatMap((edge) => (edge.isPackage ? [edge.to] : packagesOf(edge.to, seen)))
      .filter((name) => !name.startsWith('node:'))
  }

  it('loads no package but commander before a verb runs, so that `starcite --help` is quick', () => {
    expect([...new Set(packagesOf('cli/main.ts'))]).to.deep.equal(['commander'])
  })

  it('starts a node without the packages of migrations, tokens, rate limits, S3 and static types', () => {
    expect(packagesOf('cli/nodeProcess.ts'))
      .to.include('koa')
      .and.not.include.oneOf([
        'node-pg-migrate',
        'jose',
        'rate-limiter-flexible',
        '@aws-sdk/client-s3',
        'typebox',
      ])
  })

  it('reads the environment and ends the process in cli/ alone', () => {
    const isExempt = (file: string) => MAY_EXIT.includes(home(file))

    expect(offenders(/\bprocess\s*\.\s*(env|exit|exitCode)\b|\bprocess\s*\[/, isExempt)).to.deep.equal([])
  })

  it('keeps SQL in sql/, migrations/, db/, queries.ts and <what>Queries.ts', () => {
    const statement =
      /['"`]\s*(select\s[\s\S]*?|insert\s+into\s|update\s+[\w.]+\s+(\w+\s+)?set\s|delete\s+from\s|with\s+\w+\s+as\s*\(|(create|alter|drop)\s+(table|index|function|schema|type|view)\s|(un)?listen\s+\w|notify\s+\w|begin\b|truncate\s)/i

    expect(offenders(statement, (file) => MAY_HOLD_SQL.test(file))).to.deep.equal([])
  })
})
