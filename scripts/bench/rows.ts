/** What is measured: loads, and what stands between client and broker. Pure. */

/** direct: nothing. pipe: a bare Node.js TCP pipe, the floor. recording: the sidecar while it makes a record of all it relays. */
export const MODES = ['direct', 'pipe', 'toxiproxy', 'sidecar', 'recording'] as const;
export type Mode = (typeof MODES)[number];

export interface Load {
  readonly producers: number;
  readonly consumers: number;
  /** Bytes of a message's body. */
  readonly size: number;
  /** Messages a second of each producer; undefined: as fast as it goes. */
  readonly rate?: number;
  /** Most publishes unconfirmed, of each producer. */
  readonly confirms: number;
  /** Most deliveries unacknowledged, of each consumer; each delivery is acknowledged by itself. */
  readonly prefetch: number;
  /** Queues that producers and consumers are spread over. */
  readonly queues: number;
}

export interface Row extends Load {
  readonly name: string;
  readonly title: string;
  /** What the row is for; the rest is told beside it. */
  readonly of: 'throughput' | 'latency';
}

const pair = { producers: 1, consumers: 1, queues: 1 } as const;
const full = { ...pair, of: 'throughput', confirms: 500, prefetch: 500 } as const;

export const ROWS: readonly Row[] = [
  { ...full, name: 'throughput-100', title: '1 producer, 1 consumer, 100 B', size: 100 },
  { ...full, name: 'throughput-1k', title: '1 producer, 1 consumer, 1 KiB', size: 1 << 10 },
  { ...full, name: 'throughput-16k', title: '1 producer, 1 consumer, 16 KiB', size: 16 << 10 },
  {
    ...pair,
    name: 'latency-1000',
    title: '1,000 msg/s, 1 KiB',
    of: 'latency',
    size: 1 << 10,
    rate: 1000,
    confirms: 500,
    prefetch: 500,
  },
  {
    ...pair,
    name: 'latency-20',
    title: '20 msg/s, prefetch 1, 1 KiB',
    of: 'latency',
    size: 1 << 10,
    rate: 20,
    confirms: 500,
    prefetch: 1,
  },
  {
    name: 'connections-100',
    title: '100 connections (50 producers, 50 consumers, 10 queues), 1 KiB',
    of: 'throughput',
    producers: 50,
    consumers: 50,
    queues: 10,
    size: 1 << 10,
    confirms: 10,
    prefetch: 10,
  },
];

/** So many AMQP connections does a load make: PerfTest gives each producer and each consumer its own. */
export const connectionsOf = ({ producers, consumers }: Load): number => producers + consumers;

/** Of one row in one mode, once. Rates are messages a second, latencies microseconds. */
export interface Sample {
  readonly run: number;
  readonly row: string;
  readonly mode: Mode;
  /** Length of the window that all of this is about, seconds. */
  readonly seconds: number;
  readonly published: number;
  readonly received: number;
  /** Publish to delivery: what the consumer sees. */
  readonly latency: { readonly median: number; readonly p95: number; readonly p99: number };
  /** Of the process in the middle; undefined: there is none. */
  readonly middle?: {
    /** Seconds of CPU a million messages cost, each published once and delivered once. */
    readonly cpuPerMillion: number;
    /** Share of one core. */
    readonly busy: number;
    /** Resident at the window's end, bytes. */
    readonly rss: number;
  };
}

/** A sample that could not be taken. */
export interface Failure {
  readonly run: number;
  readonly row: string;
  readonly mode: Mode;
  readonly error: string;
}

/** The order of modes in a run: turned by one from run to run, so that no mode always follows the same other. */
export const turned = <T>(modes: readonly T[], run: number): T[] => {
  const by = modes.length === 0 ? 0 : run % modes.length;
  return [...modes.slice(by), ...modes.slice(0, by)];
};
