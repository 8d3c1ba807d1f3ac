/** The limits of query parameters, which operations check and OpenAPI states. */
export const PAGE = { default: 100, max: 1000 } as const
export const MAX_METADATA_FILTERS = 16
export const MAX_WAIT_SECONDS = 60
/** The most events that one frame of a tail may have. */
export const MAX_BATCH_SIZE = 1000
/** The most bytes that one tail takes in the body of `POST /v1/tails`: an escaped id of 256 bytes and a cursor. */
export const MAX_TAIL_BYTES = 640
