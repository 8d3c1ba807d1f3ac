import type { Health } from '../ops/health.ts'
import type { Metrics } from '../ops/metrics.ts'
import type { ContractDocument } from './contract/document.ts'

/** The release that the node runs. */
export interface Version {
  readonly version: string
  /** The commit of the source; absent when the build did not record it. */
  readonly commit?: string
  readonly node: string
  /** The newest migration of the release. */
  readonly schema: string
}

/** The sources of the operations of health, metrics and version. */
export interface NodeStatus {
  readonly health: Health
  readonly metrics: Metrics
  readonly version: Version
}

/** The documents that describe the API for machines. */
export interface Documents {
  readonly openApi: ContractDocument
  readonly asyncApi: ContractDocument
}
