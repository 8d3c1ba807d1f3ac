import { UsageError } from './exit.ts'

/** Parses an option whose value is a JSON object. */
export function jsonObject(option: string): (text: string) => Record<string, unknown> {
  return (text) => {
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch (error) {
      throw new UsageError(
        `${option} must be a JSON object, such as '{"text":"hello"}': ${(error as Error).message}`,
      )
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new UsageError(`${option} must be a JSON object; it is ${text}`)
    return value as Record<string, unknown>
  }
}

export function integer(
  option: string,
  min: number,
  max = Number.MAX_SAFE_INTEGER,
): (text: string) => number {
  const range = max === Number.MAX_SAFE_INTEGER ? `from ${min}` : `from ${min} to ${max}`
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
    if (value >= min && value <= max) return value
    throw new UsageError(`${option} must be an integer ${range}; it is ${JSON.stringify(text)}`)
  }
}

const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 }

/** Parses a time such as `30m`, `8h` or `7d` into seconds. */
export function seconds(option: string, maxDays = Number.POSITIVE_INFINITY): (text: string) => number {
  const limit = Number.isFinite(maxDays) ? ` of at most ${maxDays}d` : ''
  return (text) => {
    const { amount, unit = '' } = /^(?<amount>\d+)(?<unit>[smhd])$/.exec(text)?.groups ?? {}
    const value = Number(amount) * (UNIT_SECONDS[unit] ?? Number.NaN)
    if (value > 0 && value <= maxDays * 86_400) return value
    throw new UsageError(
      `${option} must be a time such as 30m, 8h or 7d${limit}; it is ${JSON.stringify(text)}`,
    )
  }
}

/** Gathers the values of an option that may be given several times. */
export const gather = (value: string, before: readonly string[] = []): readonly string[] => [...before, value]
