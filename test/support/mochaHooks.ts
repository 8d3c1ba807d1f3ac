import { expectContractKept } from './contract.ts'
import { stopTestServer } from './postgres.ts'
import { stopTestS3 } from './s3.ts'

/** Mocha runs these around the whole of a process's tests. */
export const mochaHooks = {
  afterAll: [stopTestS3, stopTestServer, expectContractKept],
}
