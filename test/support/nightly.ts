/** `npm run test:nightly`: the long forms of tests, with the counts and durations that a run of minutes has no room for. */
export const IS_NIGHTLY = process.env.STARCITE_TEST_NIGHTLY === '1'
