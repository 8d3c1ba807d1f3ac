/**
 * Yields what `start` resolves with for each item, in order, with up to `width` calls under way. When the consumer stops early,
 * the calls under way are not awaited.
 */
export async function* mapAhead<T, R>(
  items: AsyncIterable<T> | Iterable<T>,
  width: number,
  start: (item: T) => Promise<R>,
): AsyncGenerator<R, void> {
  const underWay: Promise<R>[] = []
  for await (const item of items) {
    const result = start(item)
    result.catch(() => {}) // reported when it is awaited, if it is
    underWay.push(result)
    if (underWay.length >= width) yield await (underWay.shift() as Promise<R>)
  }
  for (const result of underWay) yield await result
}
