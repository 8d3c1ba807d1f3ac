import { stopTestServer } from './postgres.ts'

/** Mocha runs these around the whole of a process's tests. */
export const mochaHooks = {
  afterAll: stopTestServer,
}
