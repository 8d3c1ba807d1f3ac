/** Of what a query may ask for, checked by the routes and told by the contract. */
export const PAGE = { default: 100, max: 1000 } as const
export const MAX_METADATA_FILTERS = 16
export const MAX_WAIT_SECONDS = 60
/** Events of one frame of a tail. */
export const MAX_BATCH_SIZE = 1000
/** What one tail takes in the body of a request for many: an id of 256 bytes, escaped, and a cursor. */
export const MAX_TAIL_BYTES = 640
