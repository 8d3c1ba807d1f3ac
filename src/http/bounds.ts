/** Of what a query may ask for, checked by the routes and told by the contract. */
export const PAGE = { default: 100, max: 1000 } as const
export const MAX_METADATA_FILTERS = 16
export const MAX_WAIT_SECONDS = 60
/** Events of one frame of a tail. */
export const MAX_BATCH_SIZE = 1000
