import { StarciteError } from '../../client/errors.ts'
import { clientOf, type Target } from '../target.ts'
import { type Checks, failed, ok, warning } from './check.ts'

const TIMEOUT_MS = 5000

/** Checks whether a node is running, is ready, and admits this caller. */
export async function* checkNode(target: Target): Checks {
  const get = async (path: string) => {
    const response = await fetch(new URL(path, target.url), { signal: AbortSignal.timeout(TIMEOUT_MS) })
    return { status: response.status, body: (await response.text()).slice(0, 200) }
  }
  try {
    const ready = await get('/health/ready')
    if (ready.status === 200) yield ok('node', `${target.url} is ready`)
    else if (ready.status === 404)
      yield warning(
        'node',
        `${target.url} has no /health/ready`,
        'The node may serve it on its STARCITE_OPS_PORT.',
      )
    else yield failed('node', `not ready: ${ready.body}`, 'docs/operations.md explains each reason.')
  } catch (error) {
    const { message, cause } = error as Error
    yield failed(
      'node',
      `${target.url}: ${(cause as Error)?.message || message}`,
      'Check that the node is running, and that --url is right.',
    )
    return
  }
  try {
    const client = await clientOf(target)
    for await (const _ of client.listSessions({ pageSize: 1 })) break
    yield ok('access', 'sessions can be listed')
  } catch (error) {
    const hint = 'To check this, set --token or STARCITE_TOKEN to a token that may read sessions.'
    if (error instanceof StarciteError && (error.status === 401 || error.status === 403))
      yield warning('access', `${error.code}: ${error.message}`, hint)
    else yield failed('access', error, 'Look into the log of the node.')
  }
}
