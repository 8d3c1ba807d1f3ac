/** How a figure may drift over a measurement: by a share of its mean, or by an amount, whichever is more. */
export interface Tolerance {
  readonly share: number
  readonly amount: number
}

export interface Flatness {
  readonly mean: number
  /** What the fitted line gains from the first sample to the last. */
  readonly drift: number
  readonly allowed: number
  readonly isFlat: boolean
}

/** Fits a line through samples taken at equal intervals, by least squares. A figure that falls is flat. */
export function flatness(samples: readonly number[], { share, amount }: Tolerance): Flatness {
  const n = samples.length
  const mean = samples.reduce((sum, sample) => sum + sample, 0) / n
  const middle = (n - 1) / 2
  let [covariance, variance] = [0, 0]
  samples.forEach((sample, i) => {
    covariance += (i - middle) * (sample - mean)
    variance += (i - middle) ** 2
  })
  const drift = variance === 0 ? 0 : (covariance / variance) * (n - 1)
  const allowed = Math.max(share * mean, amount)
  return { mean, drift, allowed, isFlat: drift <= allowed }
}

/** The lowest of every `width` samples: what a garbage collector leaves, without what it has not yet taken. */
export function troughs(samples: readonly number[], width: number): number[] {
  const count = Math.floor(samples.length / width)
  return Array.from({ length: count }, (_, i) => Math.min(...samples.slice(i * width, (i + 1) * width)))
}
