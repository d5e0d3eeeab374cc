/** Names of what stands beside an app's queue while it is moved without the sidecar. docs/adr/0014-ms2m.md. Pure. */

/** `messageQueueConfig`, complete. */
export interface QueueConfig {
  queueName: string;
  brokerUrl: string;
  exchangeName: string;
  routingKey: string;
}

export interface Queues {
  /** The app's own. */
  primary: string;
  /** The copy's, fed as the primary is. The reference's name. */
  replay: string;
  /** Bound to nothing, always empty: who consumes from here stands still between two messages. */
  park: string;
  /** What comes while the fence is up. */
  buffer: string;
}

/** Fanout exchanges of the fence: E → fence → tee → queues; what the fence can't pass on goes aside, to the buffer. */
export interface Exchanges {
  fence: string;
  tee: string;
  aside: string;
}

export const queuesOf = (primary: string): Queues => ({
  primary,
  replay: `${primary}.ms2m-replay`,
  park: `${primary}.ms2m-park`,
  buffer: `${primary}.ms2m-buffer`,
});

export const exchangesOf = (primary: string): Exchanges => ({
  fence: `${primary}.ms2m-fence`,
  tee: `${primary}.ms2m-tee`,
  aside: `${primary}.ms2m-aside`,
});

/** Where an app of the reference hears of it: by the name of its pod. */
export const controlQueueOf = (pod: string): string => `ms2m.control.${pod}`;
