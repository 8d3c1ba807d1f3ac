/** Yields the items, and requests the next one while the consumer uses the one before it. */
export async function* readAhead<T>(items: AsyncGenerator<T, void>): AsyncGenerator<T, void> {
  try {
    for (let next = items.next(); ; ) {
      const { value, done } = await next
      if (done) return
      next = items.next()
      next.catch(() => {}) // reported when it is awaited, if it is
      yield value
    }
  } finally {
    await items.return().catch(() => {})
  }
}
