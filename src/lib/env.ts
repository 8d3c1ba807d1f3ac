export type Env = Readonly<Record<string, string | undefined>>

const SIZE_UNITS: Readonly<Record<string, number>> = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 }
const TIME_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

/**
 * Reads settings from an environment, and collects every problem with them, so that an operator can fix all at once. An empty
 * value counts as not set. A problem names the variable and what is expected, and repeats the value unless it may hold a
 * secret.
 */
export class EnvReader {
  readonly #env: Env
  readonly problems: string[] = []
  /** Names of the variables that were read. */
  readonly names = new Set<string>()

  constructor(env: Env) {
    this.#env = env
  }

  /** The first variable of these that is set. */
  raw(...names: string[]): { name: string; value: string } | undefined {
    for (const name of names) this.names.add(name)
    for (const name of names) {
      const value = this.#env[name]?.trim()
      if (value !== undefined && value !== '') return { name, value }
    }
    return undefined
  }

  text<T extends string | undefined>(name: string, fallback: T): string | T {
    return this.raw(name)?.value ?? fallback
  }

  int(name: string, range: { default: number; min: number; max: number }): number {
    const found = this.raw(name)
    if (found === undefined) return range.default
    const value = /^-?\d+$/.test(found.value) ? Number(found.value) : Number.NaN
    if (value >= range.min && value <= range.max) return value
    return this.#reject(found, `an integer from ${range.min} to ${range.max}`, range.default)
  }

  oneOf<T extends string>(name: string, allowed: readonly T[], fallback: T): T {
    const found = this.raw(name)
    if (found === undefined) return fallback
    const value = allowed.find((word) => word === found.value)
    return value ?? this.#reject(found, `one of ${allowed.join(', ')}`, fallback)
  }

  /** Names from a list, separated by spaces or commas; undefined when not set. */
  namesOf<T extends string>(name: string, allowed: readonly T[]): ReadonlySet<T> | undefined {
    const found = this.raw(name)
    if (found === undefined) return undefined
    const names = found.value.split(/[\s,]+/).filter((word) => word !== '')
    const known = allowed.filter((word) => names.includes(word))
    if (names.every((word) => (known as string[]).includes(word))) return new Set(known)
    return this.#reject(found, `some of ${allowed.join(', ')}`, undefined)
  }

  /** Origins, separated by spaces or commas, or `*`; undefined when not set. */
  origins(name: string): '*' | readonly string[] | undefined {
    const isOrigin = (word: string) =>
      URL.canParse(word) &&
      /^https?:/.test(word) &&
      new URL(word).origin === word.replace(/\/$/, '') &&
      !word.includes('*')
    const found = this.#words(name, isOrigin, 'origins such as https://app.example.com, or *')
    return Array.isArray(found) ? found.map((word) => new URL(word).origin) : found
  }

  /** Host names, separated by spaces or commas, or `*`; undefined when not set. */
  hosts(name: string): '*' | readonly string[] | undefined {
    const isHost = (word: string) => /^\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*$/i.test(word)
    const expected = 'names without a port, such as starcite.example.com or .example.com, or *'
    const found = this.#words(name, isHost, expected)
    return Array.isArray(found) ? found.map((word) => word.toLowerCase()) : found
  }

  #words(name: string, isOne: (word: string) => boolean, expected: string): '*' | string[] | undefined {
    const found = this.raw(name)
    if (found === undefined) return undefined
    const words = found.value.split(/[\s,]+/).filter((word) => word !== '')
    if (words.includes('*')) return '*'
    return words.every(isOne) ? words : this.#reject(found, expected, undefined)
  }

  /** Words, separated by spaces or commas; undefined when not set. */
  list(name: string): readonly string[] | undefined {
    return this.raw(name)
      ?.value.split(/[\s,]+/)
      .filter((word) => word !== '')
  }

  /** Pairs `a=b`, separated by spaces or commas and split at the last `=`; undefined when not set. */
  pairs(name: string): readonly (readonly [string, string])[] | undefined {
    const pairs = this.list(name)?.map((word) => {
      const at = word.lastIndexOf('=')
      return [word.slice(0, Math.max(at, 0)), word.slice(at + 1)] as const
    })
    const wrong = pairs?.findIndex(([left, right]) => left === '' || right === '') ?? -1
    if (wrong === -1) return pairs
    this.problems.push(
      `${name} must be pairs such as name=value, separated by spaces; one has no name or no value`,
    )
    return []
  }

  flag(name: string, fallback: boolean): boolean {
    const found = this.raw(name)
    if (found === undefined) return fallback
    if (/^(true|1|yes|on)$/i.test(found.value)) return true
    if (/^(false|0|no|off)$/i.test(found.value)) return false
    return this.#reject(found, 'true or false', fallback)
  }

  /** A size in bytes, from a number with B, KB, MB or GB (powers of 1024); without a unit it is bytes. */
  size(name: string, range: { default: string; min: string; max: string }): number {
    const expected = `a size from ${range.min} to ${range.max}, such as ${range.default}`
    return this.#withUnit(name, range, SIZE_UNITS, 'B', expected, (unit) => unit.toUpperCase())
  }

  /** A time in milliseconds, from a number with ms, s, m, h or d. */
  duration(name: string, range: { default: string; min: string; max: string }): number {
    const expected = `a time from ${range.min} to ${range.max}, such as ${range.default}`
    return this.#withUnit(name, range, TIME_UNITS, '', expected, (unit) => unit.toLowerCase())
  }

  /** A postgres:// URL, of the first variable that is set. It may hold a password, so a problem does not repeat it. */
  postgresUrl(...names: string[]): string | undefined {
    const found = this.raw(...names)
    if (found === undefined) return undefined
    const url = URL.canParse(found.value) ? new URL(found.value) : undefined
    if (url?.protocol === 'postgres:' || url?.protocol === 'postgresql:') return found.value
    this.problems.push(
      `${found.name} must be a postgres:// URL, such as postgres://user:password@host:5432/database`,
    )
    return undefined
  }

  /** An http:// or https:// URL, of the first variable that is set. A problem does not repeat it. */
  httpUrl(...names: string[]): string | undefined {
    const found = this.raw(...names)
    if (found === undefined) return undefined
    const url = URL.canParse(found.value) ? new URL(found.value) : undefined
    if (url?.protocol === 'http:' || url?.protocol === 'https:') return found.value
    this.problems.push(`${found.name} must be an http:// or https:// URL`)
    return undefined
  }

  #withUnit(
    name: string,
    range: { default: string; min: string; max: string },
    units: Readonly<Record<string, number>>,
    noUnit: string,
    expected: string,
    fold: (unit: string) => string,
  ): number {
    const parse = (text: string): number => {
      const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text)
      const unit = units[fold(match?.[2] || noUnit)]
      return match === null || unit === undefined ? Number.NaN : Math.round(Number(match[1]) * unit)
    }
    const found = this.raw(name)
    if (found === undefined) return parse(range.default)
    const value = parse(found.value)
    if (value >= parse(range.min) && value <= parse(range.max)) return value
    return this.#reject(found, expected, parse(range.default))
  }

  #reject<T>(found: { name: string; value: string }, expected: string, fallback: T): T {
    this.problems.push(`${found.name} must be ${expected}; it is ${JSON.stringify(found.value)}`)
    return fallback
  }
}
