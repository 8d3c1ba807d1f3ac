interface Node<Handler> {
  readonly literals: Map<string, Node<Handler>>
  parameter: { readonly name: string; readonly node: Node<Handler> } | undefined
  /** The template of the path that ends here. */
  path: string | undefined
  readonly handlers: Map<string, Handler>
}

export interface Found<Handler> {
  /** The template of the path, such as `/v1/sessions/:id`. */
  readonly path: string
  readonly handlers: ReadonlyMap<string, Handler>
  readonly parameters: Readonly<Record<string, string>>
}

const nodeOf = <Handler>(): Node<Handler> => ({
  literals: new Map(),
  parameter: undefined,
  path: undefined,
  handlers: new Map(),
})

/** Finds the handlers of a path by walking a tree of its segments. A literal segment wins over a parameter. */
export class Router<Handler> {
  readonly #root = nodeOf<Handler>()

  /** Throws when the method of this path has a handler, or a parameter has another name elsewhere. */
  add(methods: readonly string[], path: string, handler: Handler): void {
    let node = this.#root
    for (const segment of path.slice(1).split('/')) node = child(node, segment, path)
    node.path = path
    for (const method of methods) {
      if (node.handlers.has(method)) throw new Error(`${method} ${path} is declared twice`)
      node.handlers.set(method, handler)
    }
  }

  /** One slash at the end is ignored. Parameters are percent-decoded where they can be. */
  find(path: string): Found<Handler> | undefined {
    const segments = path.split('/')
    if (segments.length > 2 && segments.at(-1) === '') segments.pop()
    const parameters: Record<string, string> = {}
    let node: Node<Handler> | undefined = this.#root
    for (let i = 1; i < segments.length; i += 1) {
      const segment = segments[i] as string
      const literal: Node<Handler> | undefined = node.literals.get(segment)
      if (literal === undefined && (segment === '' || node.parameter === undefined)) return undefined
      if (literal === undefined && node.parameter) parameters[node.parameter.name] = decoded(segment)
      node = literal ?? (node.parameter as NonNullable<typeof node.parameter>).node
    }
    return node.path === undefined ? undefined : { path: node.path, handlers: node.handlers, parameters }
  }
}

function child<Handler>(node: Node<Handler>, segment: string, path: string): Node<Handler> {
  if (segment.startsWith(':')) {
    const name = segment.slice(1)
    node.parameter ??= { name, node: nodeOf() }
    if (node.parameter.name !== name)
      throw new Error(`${path}: the parameter is named ${node.parameter.name} elsewhere`)
    return node.parameter.node
  }
  const next = node.literals.get(segment) ?? nodeOf<Handler>()
  node.literals.set(segment, next)
  return next
}

function decoded(segment: string): string {
  if (!segment.includes('%')) return segment
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}
