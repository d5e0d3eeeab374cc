/** Half heartbeat intervals without a byte from the broker until it is taken for dead. */
export const SILENT_TICKS = 5;
