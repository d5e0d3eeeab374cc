/** What the parts of a world see of it. */
import type { Hub } from './hub.ts';
import type { Random } from './random.ts';
import type { TapEvents } from './tap.ts';

/** How bytes travel, chosen by the seed. */
export interface Network {
  /** Longest chunk handed over at once. */
  readonly chunk: number;
  /** What the kernel takes of a socket's writes, bytes. */
  readonly room: number;
  /** Bytes are handed over in two of five ticks only. */
  readonly slow: boolean;
  /** Of a control message, ticks. */
  readonly controlLatency: number;
}

export interface Surroundings {
  /** Of the broker. */
  readonly port: number;
  readonly network: Network;
  readonly hub: Hub;
  readonly random: Random;
  readonly taps: TapEvents;
  wrong(invariant: string, what: string): void;
  trace(part: string, what: string): void;
  /** One more of what is counted for the summary. */
  count(what: string): void;
}
