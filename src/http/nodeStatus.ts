import type { Health } from '../ops/health.ts'
import type { Metrics } from '../ops/metrics.ts'
import type { ContractDocument } from './contract/document.ts'

/** What this node runs. */
export interface Version {
  readonly version: string
  /** Of the source; absent when the build did not say. */
  readonly commit?: string
  readonly node: string
  /** The newest migration that this release knows. */
  readonly schema: string
}

/** What operators ask a node about itself. */
export interface NodeStatus {
  readonly health: Health
  readonly metrics: Metrics
  readonly version: Version
}

/** The contract for machines, as this node serves it. */
export interface Documents {
  readonly openApi: ContractDocument
  readonly asyncApi: ContractDocument
}
