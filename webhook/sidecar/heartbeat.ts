/** Half heartbeat intervals without a byte from the broker until it is taken for dead. */
export const SILENT_TICKS = 5;
/** The same, before the app itself takes its peer for dead: no client does within two intervals. */
export const UNHEARD_TICKS = 3;
