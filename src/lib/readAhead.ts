/** Asks for the next item while the one before it is being used. */
export async function* readAhead<T>(items: AsyncGenerator<T, void>): AsyncGenerator<T, void> {
  try {
    for (let next = items.next(); ; ) {
      const { value, done } = await next
      if (done) return
      next = items.next()
      next.catch(() => {}) // reported when it is awaited, if it ever is
      yield value
    }
  } finally {
    await items.return().catch(() => {})
  }
}
