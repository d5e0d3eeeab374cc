/** Half heartbeat intervals without a byte from the broker until it is taken for dead. */
export const SILENT_TICKS = 5;
/**
 * The same of a loss that is hidden: no client takes its peer for dead within two intervals. The broker, too, ends a client of
 * which it has heard nothing for so long.
 */
export const UNHEARD_TICKS = 4;
