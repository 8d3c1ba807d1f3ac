import { CLOSE } from '../../protocol/errors.ts'
import { CHANNELS, type Channel } from './channels.ts'
import { Components } from './components.ts'

const DESCRIPTION = `The WebSockets of Starcite. Handshakes and the errors that refuse them are in /openapi.json.
\`send\` operations are frames from the node, \`receive\` operations frames from the client. Close codes are under
\`x-close-codes\`: after all but 1000, 4004 and 4009, connect again with your cursor.`

/** The sockets of a release as an AsyncAPI 3 document. */
export function asyncApi(release: string): object {
  const components = new Components()
  const channels = Object.entries(CHANNELS)
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Starcite',
      version: release,
      description: DESCRIPTION,
      license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
    },
    defaultContentType: 'application/json',
    servers: { node: { host: 'localhost:4000', protocol: 'ws', description: 'A node, by default.' } },
    channels: Object.fromEntries(
      channels.map(([name, channel]) => [name, channelObject(channel, components)]),
    ),
    operations: Object.assign({}, ...channels.map(([name, channel]) => operationsOf(name, channel))),
    components: {
      schemas: components.schemas,
      securitySchemes: Object.fromEntries(
        channels.map(([, { token }]) => [
          token,
          {
            type: 'httpApiKey',
            in: 'query',
            name: token,
            description: 'Required with STARCITE_AUTH_MODE=jwt.',
          },
        ]),
      ),
    },
  }
}

function channelObject(channel: Channel, components: Components): object {
  const replies = Object.values(channel.receives).flatMap((it) => Object.entries(it.replies))
  const messages = [
    ...Object.entries(channel.sends),
    ...Object.entries(channel.receives).map(([name, it]) => [name, it.message] as const),
    ...replies,
  ]
  return {
    address: channel.address,
    title: channel.title,
    description: channel.description,
    ...(channel.address.includes('{id}') && {
      parameters: { id: { description: 'The id of the session, percent-encoded.' } },
    }),
    messages: Object.fromEntries(
      messages.map(([name, payload]) => [name, { name, payload: components.of(payload) }]),
    ),
    bindings: {
      ws: {
        query: {
          type: 'object',
          properties: Object.fromEntries(
            Object.entries(channel.query).map(([name, description]) => [
              name,
              { type: 'string', description },
            ]),
          ),
        },
      },
    },
    'x-close-codes': channel.closes.map((name) => CLOSE[name]),
  }
}

function operationsOf(channelName: string, { receives, sends, token }: Channel): Record<string, object> {
  const channel = { $ref: `#/channels/${channelName}` }
  const security = [{ $ref: `#/components/securitySchemes/${token}` }]
  const refs = (names: readonly string[]) =>
    names.map((name) => ({ $ref: `#/channels/${channelName}/messages/${name}` }))
  const operations: Record<string, object> = {}
  for (const name of Object.keys(sends))
    operations[`${channelName}.${name}`] = { action: 'send', channel, security, messages: refs([name]) }
  for (const [name, { replies }] of Object.entries(receives))
    operations[`${channelName}.${name}`] = {
      action: 'receive',
      channel,
      security,
      messages: refs([name]),
      reply: { channel, messages: refs(Object.keys(replies)) },
    }
  return operations
}
