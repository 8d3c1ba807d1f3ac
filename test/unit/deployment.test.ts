import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { parse, parseAllDocuments } from 'yaml'
import { loadConfig } from '../../src/config.ts'
import { freePort } from '../support/node.ts'
import { programOf } from '../support/programs.ts'

const ROOT = new URL('../../', import.meta.url)
const read = (file: string) => readFileSync(new URL(file, ROOT), 'utf8')
const isThere = (file: string) => existsSync(new URL(file, ROOT))

type Settings = Readonly<Record<string, string>>

/** Asserts that a node would start with these, and reads them as it would; every name must be one that it knows. */
function configOf(settings: Settings): ReturnType<typeof loadConfig> {
  const asked = new Set<string>()
  loadConfig(new Proxy({}, { get: (_, name) => void asked.add(String(name)) }))
  expect(Object.keys(settings).filter((name) => !asked.has(name))).to.deep.equal([])
  return loadConfig(settings)
}

const seconds = (text: string) => {
  const [, number, unit] = /^(\d+)(ms|s|m|h)$/.exec(text) ?? []
  return (Number(number) * { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[unit as 's']) / 1000
}

describe('the image', () => {
  const dockerfile = read('Dockerfile').replaceAll(/\\\n\s*/g, '')
  const lines = dockerfile.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  const ofKind = (instruction: string) => lines.filter((line) => line.startsWith(`${instruction} `))

  it('copies what there is, and .dockerignore lets it in', () => {
    const copied = ofKind('COPY')
      .filter((instruction) => !instruction.includes('--from='))
      .flatMap((instruction) => instruction.split(/\s+/).slice(1, -1))
    const let_in = read('.dockerignore')
      .split('\n')
      .filter((line) => line.startsWith('!'))
      .map((line) => line.slice(1))

    expect(copied.filter((path) => !isThere(path))).to.deep.equal([])
    expect([...let_in].sort()).to.deep.equal([...new Set(copied)].sort())
  })

  it('runs existing scripts and programs, as a user that is not root', () => {
    const { scripts } = JSON.parse(read('package.json'))
    const runs = [...dockerfile.matchAll(/npm run (\w+)/g)].map((match) => match[1] as string)
    const programs = [...dockerfile.matchAll(/dist\/([\w/]+)\.js/g)].map((match) => `src/${match[1]}.ts`)

    expect(runs).to.deep.equal(['build'])
    expect(scripts).to.include.keys(runs)
    expect(programs).to.have.members(['src/cli/healthcheck.ts', 'src/main.ts'])
    expect(programs.filter((program) => !isThere(program))).to.deep.equal([])
    expect(ofKind('USER')).to.deep.equal(['USER 1000:1000'])
  })

  it('has a Node that package.json allows and CI tests, and the port that is the default', () => {
    const version = Number(/^ARG NODE_VERSION=(\d+)$/m.exec(dockerfile)?.[1])
    const tested: number[] = parse(read('.github/workflows/ci.yml')).jobs.test.strategy.matrix.node

    expect(tested).to.include(version)
    expect(`>=${Math.min(...tested)}`).to.equal(JSON.parse(read('package.json')).engines.node.split('.')[0])
    expect(ofKind('EXPOSE')).to.deep.equal([`EXPOSE ${loadConfig({}).port}`])
    configOf({ PORT: '4000', STARCITE_COMMIT: 'c0ffee', STARCITE_HOST: '0.0.0.0' })
    expect(dockerfile).to.match(/STARCITE_HOST=0\.0\.0\.0 /) // without it no client outside of the container reaches the node
  })
})

describe('docker-compose.yml', () => {
  const { services } = parse(read('docker-compose.yml'), { merge: true })
  const nodes = Object.keys(services).filter((name) => /^node\d$/.test(name))
  const haproxy = read('deploy/haproxy/haproxy.cfg')

  it('has three nodes, with settings that they know, each in the load balancer at its port', () => {
    expect(nodes).to.have.length(3)
    for (const name of nodes) {
      const config = configOf(services[name].environment)

      expect(config.archive.adapter).to.equal('s3')
      expect(haproxy).to.match(new RegExp(`^ {2}server ${name} ${name}:${config.port}$`, 'm'))
    }
    expect(haproxy.match(/^ {2}server /gm)).to.have.length(nodes.length)
  })

  it('shows one port, that of the quick start, where the load balancer listens', () => {
    const published = Object.entries<{ ports?: string[] }>(services).flatMap(([name, { ports = [] }]) =>
      ports.map((port) => `${name} ${port}`),
    )
    const listens = /^ {2}bind :(\d+)$/m.exec(haproxy)?.[1]

    expect(published, 'without tokens, so for this machine alone').to.deep.equal([
      `lb 127.0.0.1:4000:${listens}`,
    ])
    expect(read('README.md')).to.include('http://localhost:4000')
  })

  it('lets nodes end, and the load balancer notice before they do', () => {
    const { environment, stop_grace_period } = services.node1
    const { drainDelayMs, shutdownGraceMs } = configOf(environment)
    const [, inter, fall] = /check inter (\d+)ms .*fall (\d+)/.exec(haproxy) ?? []

    expect(seconds(stop_grace_period)).to.be.above((drainDelayMs + shutdownGraceMs) / 1000)
    expect(drainDelayMs).to.be.above(Number(inter) * Number(fall))
  })

  it('gives tails and long-polls their time at the load balancer, which closes first', () => {
    const { http, tail } = loadConfig({})
    const of = (name: string) =>
      seconds(new RegExp(`^ {2}timeout ${name} (\\S+)$`, 'm').exec(haproxy)?.[1] ?? '')
    const LONGEST_POLL = 60

    expect(of('server')).to.be.above(LONGEST_POLL)
    expect(of('client')).to.be.above(LONGEST_POLL)
    expect(of('tunnel')).to.be.above((2 * tail.pingIntervalMs) / 1000)
    expect(of('http-keep-alive')).to.be.below(http.keepAliveMs / 1000)
  })

  it('makes its bucket, and does not mind that it is there', async () => {
    const asked: string[] = []
    const server = createServer((req, res) => {
      asked.push(`${req.method} ${req.url?.split('?')[0]}`)
      res.statusCode = asked.length === 1 ? 200 : 409
      res.end(
        asked.length === 1
          ? ''
          : '<?xml version="1.0"?><Error><Code>BucketAlreadyOwnedByYou</Code><Message>yours</Message></Error>',
      )
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    const [, ...args] = services.bucket.command as string[]
    const env = { ...services.bucket.environment, STARCITE_S3_ENDPOINT: `http://127.0.0.1:${port}` }
    try {
      for (let run = 0; run < 2; run += 1) {
        const child = spawn(process.execPath, args, { cwd: fileURLToPath(ROOT), env, stdio: 'ignore' })
        expect((await once(child, 'exit'))[0]).to.equal(0)
      }
    } finally {
      server.close()
    }

    expect(asked.map((path) => path.replace(/\/$/, ''))).to.deep.equal(Array(2).fill('PUT /starcite'))
  })
})

describe('the manifests for Kubernetes', () => {
  const directory = new URL('deploy/kubernetes/', ROOT)
  // biome-ignore lint/suspicious/noExplicitAny: manifests are looked at by the assertions
  const objects: any[] = readdirSync(directory).flatMap((file) =>
    parseAllDocuments(readFileSync(new URL(file, directory), 'utf8')).map((document) => document.toJS()),
  )
  const one = (kind: string) => objects.find((object) => object.kind === kind)
  const pod = one('Deployment').spec.template.spec
  const [container] = pod.containers
  const config = configOf({ ...one('ConfigMap').data, ...one('Secret').stringData })

  it('name every file but the example of the secret', () => {
    expect(one('Kustomization').resources).to.have.members(
      readdirSync(directory).filter((name) => !['kustomization.yaml', 'secret.example.yaml'].includes(name)),
    )
  })

  it('have the ports of the settings, and probes that go to paths that there are', () => {
    const ports = Object.fromEntries(
      container.ports.map((port: { name: string; containerPort: number }) => [port.name, port.containerPort]),
    )
    const routes = read('src/http/api/ops.ts')

    expect(ports).to.deep.equal({ http: config.port, ops: config.opsPort })
    for (const { httpGet } of [container.livenessProbe, container.readinessProbe, container.startupProbe]) {
      expect(httpGet.port).to.equal('ops')
      expect(routes).to.include(`path: '${httpGet.path}'`)
    }
    expect(container.readinessProbe.timeoutSeconds).to.be.above(config.database.timeoutMs / 1000)
  })

  it('give a node the time that it needs to end', () => {
    const preStop = Number(container.lifecycle.preStop.exec.command[1])

    expect(pod.terminationGracePeriodSeconds).to.be.above(
      preStop + (config.drainDelayMs + config.shutdownGraceMs) / 1000,
    )
  })

  it('run no container as root, and select the pods that they create', () => {
    const { labels } = one('Deployment').spec.template.metadata

    expect(pod.securityContext.runAsNonRoot).to.equal(true)
    expect(container.securityContext).to.include({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
    })
    for (const object of objects.filter(({ kind }) => kind === 'Service'))
      expect(object.spec.selector).to.deep.equal(labels)
    expect(one('PodDisruptionBudget').spec.selector.matchLabels).to.deep.equal(labels)
    expect(one('HorizontalPodAutoscaler').spec.scaleTargetRef.name).to.equal(one('Deployment').metadata.name)
  })
})

describe('the workflows', () => {
  it('run scripts that package.json has', () => {
    const { scripts } = JSON.parse(read('package.json'))
    const runs = readdirSync(new URL('.github/workflows/', ROOT)).flatMap((file) =>
      [...read(`.github/workflows/${file}`).matchAll(/npm run (\w+)/g)].map((match) => match[1] as string),
    )

    expect(runs).to.include.members(['lint', 'typecheck', 'build'])
    expect(scripts).to.include.keys(runs)
  })
})

describe('the health check of the image', () => {
  const CLI = programOf('src/cli/healthcheck.ts')

  async function check(args: readonly string[], settings: Settings) {
    const { PATH } = process.env
    const child = spawn(process.execPath, [...CLI, ...args], {
      env: { ...(PATH && { PATH }), ...settings },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let said = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        said += chunk
      })
    const [code] = await once(child, 'close')
    return { code, said }
  }

  it('distinguishes well, unwell, no node, and a wrong command or configuration', async () => {
    const asked: string[] = []
    const server = createServer((req, res) => {
      asked.push(req.url ?? '')
      res.statusCode = req.url === '/health/live' ? 200 : 503
      res.end('{}')
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    const settings = { STARCITE_OPS_PORT: String(port) }
    try {
      const [live, ready, nobody, command, configuration] = await Promise.all([
        check([], settings),
        check(['ready'], settings),
        check(['ready'], { PORT: String(await freePort()) }),
        check(['well'], settings),
        check([], { PORT: 'abc' }),
      ])

      expect([live, ready, nobody, command, configuration].map((answer) => answer.code)).to.deep.equal([
        0, 1, 1, 2, 2,
      ])
      expect([...asked].sort()).to.deep.equal(['/health/live', '/health/ready'])
      expect(nobody.said).to.include('ECONNREFUSED')
      expect(configuration.said).to.include('PORT must be')
    } finally {
      server.close()
    }
  })
})
