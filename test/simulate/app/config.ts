/** What a simulated app is like. What it does with a message depends on the message alone, never on when it comes. */
import { hash } from '../random.ts';

export interface ConsumerConfig {
  readonly tag: string;
  readonly queue: string;
  /** input: messages of the world; reply: answers to its calls. */
  readonly role: 'input' | 'reply';
  /** each: one by one; every: `multiple`, when so many are done; timer: `multiple`, now and then. */
  readonly settle: 'each' | 'every' | 'timer';
  readonly every: number;
  /** serial: one message after the other; free: as many as it holds, done in any order. */
  readonly order: 'serial' | 'free';
  /** Longest time spent on a message, ticks. */
  readonly work: number;
  /** When a message counts as done: before its outputs are published, after, or when they are confirmed. */
  readonly done: 'first' | 'published' | 'confirmed';
  /** Index of the channel its outputs go over. */
  readonly publishOn: number;
  /** It is cancelled and made anew each time it has had so many deliveries; 0: never. */
  readonly renew: number;
  /** A request on its channel at every so many deliveries; 0: never. */
  readonly ask: number;
  /** Not consumed, but got one by one. */
  readonly polled: boolean;
  /** Every so manieth message has a channel of its own for its outputs, opened for it and closed after; 0: none. */
  readonly side: number;
}

export interface ChannelConfig {
  readonly connection: number;
  readonly id: number;
  readonly confirm: boolean;
  readonly prefetch: number;
  /** The prefetch counts for the channel as a whole. */
  readonly global: boolean;
  readonly consumers: readonly ConsumerConfig[];
  /** Opened for one message. */
  readonly side?: boolean;
}

/** Shares of messages, 0 to 1, and bounds. */
export interface Habits {
  /** Handed back once, with requeue. */
  readonly refuse: number;
  /** Rejected without requeue. */
  readonly reject: number;
  /** Most outputs of one message. */
  readonly outputs: number;
  /** Of the outputs: mandatory, to nowhere. */
  readonly unroutable: number;
  readonly call: number;
  /** Longest padding of an output, bytes. */
  readonly padding: number;
}

export interface AppConfig {
  readonly name: string;
  readonly seed: number;
  readonly connections: number;
  readonly frameMax: number;
  /** Seconds; 0: none. */
  readonly heartbeat: number;
  readonly channels: readonly ChannelConfig[];
  readonly queues: readonly { readonly name: string; readonly quorum: boolean }[];
  readonly habits: Habits;
  readonly outputQueue: string;
  readonly callQueue: string;
  readonly replyQueue: string;
  /** Published by the clock alone. */
  readonly ticks: { readonly every: number; readonly count: number; readonly publishOn: number };
  /** Done messages are settled at the latest after so many ticks. */
  readonly flush: number;
  /** All but the first connection are made when it has seen so many messages; 0: at once. */
  readonly late: number;
  /** At times it acks all there is, by tag 0. When it does depends on time: a replay may have to give up. */
  readonly acksAll: boolean;
  /** Its state, and with it its outputs, depends on the order in which handlers end: no replay can follow that. */
  readonly racy: boolean;
}

export interface Decision {
  readonly refuse: boolean;
  readonly reject: boolean;
  readonly call: boolean;
  /** Ids of what it publishes. */
  readonly outputs: readonly string[];
}

const share = (config: AppConfig, what: string): number => hash(`${config.seed}/${what}`) / 0x1_0000_0000;

export const decide = (config: AppConfig, queue: string, n: number): Decision => {
  const { habits } = config;
  const reject = share(config, `reject/${queue}/${n}`) < habits.reject;
  const count = reject ? 0 : Math.floor(share(config, `count/${queue}/${n}`) * (habits.outputs + 1));
  return {
    refuse: share(config, `refuse/${queue}/${n}`) < habits.refuse,
    reject,
    call: !reject && share(config, `call/${queue}/${n}`) < habits.call,
    outputs: Array.from({ length: count }, (_, index) => `${queue}/${n}/${index}`),
  };
};

export const isUnroutable = (config: AppConfig, output: string): boolean =>
  share(config, `unroutable/${output}`) < config.habits.unroutable;

export const paddingOf = (config: AppConfig, output: string): number =>
  Math.floor(share(config, `padding/${output}`) ** 3 * config.habits.padding);
