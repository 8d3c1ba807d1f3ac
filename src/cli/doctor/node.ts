import { StarciteError } from '../../client/errors.ts'
import { clientOf, type Target } from '../target.ts'
import { type Checks, failed, ok, warning } from './check.ts'

const TIMEOUT_MS = 5000

/** Whether a node is there, is ready, and lets this caller in. */
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
        'It may be on STARCITE_OPS_PORT of the node.',
      )
    else yield failed('node', `not ready: ${ready.body}`, 'docs/operations.md says what each reason means.')
  } catch (error) {
    const { message, cause } = error as Error
    yield failed(
      'node',
      `${target.url}: ${(cause as Error)?.message || message}`,
      'Is it running, and is --url right?',
    )
    return
  }
  try {
    const client = await clientOf(target)
    for await (const _ of client.listSessions({ pageSize: 1 })) break
    yield ok('access', 'sessions can be listed')
  } catch (error) {
    const hint =
      'Without a token that may read sessions, this cannot be looked at: --token or STARCITE_TOKEN.'
    if (error instanceof StarciteError && (error.status === 401 || error.status === 403))
      yield warning('access', `${error.code}: ${error.message}`, hint)
    else yield failed('access', error, 'The log of the node has more.')
  }
}
