const TIME =
  /^(?<date>\d{4}-\d{2}-\d{2})(?:[T ](?<minutes>\d{2}:\d{2})(?::(?<seconds>\d{2})(?:\.(?<fraction>\d{1,6}))?)?(?<zone>Z|[+-]\d{2}:\d{2})?)?$/

/**
 * Normalizes a time to the form of rendered events (RFC 3339, UTC, six fractional digits), so that texts compare as
 * times do; undefined when it is not a time. A date alone is its midnight; without a zone it is UTC.
 */
export function wireTime(text: string): string | undefined {
  const parts = TIME.exec(text)?.groups
  if (parts === undefined) return undefined
  const { date, minutes = '00:00', seconds = '00', fraction = '', zone = 'Z' } = parts
  const at = new Date(`${date}T${minutes}:${seconds}${zone}`)
  if (Number.isNaN(at.getTime()) || !isDay(date as string)) return undefined
  return `${at.toISOString().slice(0, 19)}.${fraction.padEnd(6, '0')}Z`
}

/** Rejects dates such as February 30th, which Date takes for a day of the next month. */
const isDay = (date: string): boolean => new Date(`${date}T00:00Z`).toISOString().startsWith(date)
