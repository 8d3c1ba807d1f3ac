/** What agents stream: a few words at a time, with where they belong. Around 200 bytes each. */
const DELTAS = [
  'The indemnity in clause 4.2 survives termination, ',
  'but only for claims that were notified within two years. ',
  'Compare the cap in 9.1: it does not mention gross negligence, ',
  'さらに第7条は準拠法を東京地方裁判所と定めています。',
  'I would ask the counterparty to confirm “direct losses” means ',
  'the same here as it does in schedule 3 — ',
]

export interface AgentEvent {
  readonly type: string
  readonly payload: {
    readonly run_id: string
    readonly step: number
    readonly index: number
    readonly text: string
  }
  readonly actor: string
}

export function agentEvent(n: number): AgentEvent {
  return {
    type: 'content.delta',
    payload: {
      run_id: 'run_7fQ2mZx0',
      step: 1 + (n % 7),
      index: n,
      text: DELTAS[n % DELTAS.length]!,
    },
    actor: n % 2 === 0 ? 'agent:drafter' : 'agent:reviewer',
  }
}

export function agentEvents(count: number, from = 0): AgentEvent[] {
  return Array.from({ length: count }, (_, i) => agentEvent(from + i))
}

/** Names of sessions that no other row of a run uses. */
export function sessionNames(row: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `ses_${row}_${i}`)
}
