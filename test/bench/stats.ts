function sorted(values: Iterable<number>): Float64Array {
  return Float64Array.from(values).sort()
}

/** Nearest rank: a value that was really measured. */
export function percentile(ascending: Float64Array, percent: number): number {
  const rank = Math.ceil((percent / 100) * ascending.length)
  return ascending[Math.max(rank, 1) - 1] ?? Number.NaN
}

export function median(values: Iterable<number>): number {
  return percentile(sorted(values), 50)
}

export function concat(parts: readonly Float64Array[]): Float64Array {
  const all = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
