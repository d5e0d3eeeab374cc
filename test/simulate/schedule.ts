/** What a seed stands for: the world, its apps, and what is done to it. The same seed, the same schedule. */
import type { AppConfig, ChannelConfig, ConsumerConfig } from './app/config.ts';
import { Random } from './random.ts';
import type { Network } from './surroundings.ts';

export type Mode = 'stop' | 'replay';

/** Something that befalls a handoff, so many ticks after a step of it was entered. */
export interface Fault {
  readonly what:
    | 'abort'
    | 'copy dies'
    | 'source sidecar dies'
    | 'copy sidecar dies'
    | 'source power cut'
    | 'links drop'
    | 'source loses broker';
  readonly at: HandoffStep;
  readonly after: number;
}

export type HandoffStep = 'muting' | 'cutting' | 'transferring' | 'replaying' | 'attaching' | 'committed' | 'settling';
/** In order, up to the commit. */
const BEFORE: Record<Mode, readonly HandoffStep[]> = {
  stop: ['muting', 'cutting', 'transferring', 'attaching'],
  replay: ['cutting', 'transferring', 'replaying', 'replaying', 'muting', 'attaching'],
};
const AFTER: readonly HandoffStep[] = ['committed', 'settling'];

export interface HandoffPlan {
  readonly mode: Mode;
  /** Begins when the app has seen so many inputs. */
  readonly after: number;
  /** Longest wait within each step, ticks. */
  readonly pace: number;
  readonly faults: readonly Fault[];
  /** Replay: the record goes straight from sidecar to sidecar, by a real mutual TLS connection. */
  readonly direct: boolean;
  readonly onDivergence: 'Abort' | 'Report';
}

/** Between handoffs: connections to the broker are lost, and it can't be reached for so many ticks. */
export interface Loss {
  /** When the app has seen so many inputs. */
  readonly after: number;
  readonly away: number;
  /** Of the app's connections; else the first. */
  readonly all: boolean;
}

export interface Schedule {
  readonly seed: number;
  readonly network: Network;
  readonly quorum: boolean;
  /** Messages for each input queue. */
  readonly messages: number;
  readonly queues: readonly string[];
  /** Most inputs published at once, in a tick; the share of ticks with some; most that are not seen yet. */
  readonly feed: { readonly burst: number; readonly share: number; readonly lead: number };
  readonly app: AppConfig;
  readonly rival: AppConfig | undefined;
  readonly handoffs: readonly HandoffPlan[];
  readonly losses: readonly Loss[];
}

const PREFETCHES = [1, 1, 2, 3, 5, 10, 20, 50, 200];

interface Traits {
  readonly prefix: string;
  readonly seed: number;
  readonly queues: readonly string[];
  readonly quorum: boolean;
  /** Of the network. */
  readonly chunk: number;
}

const consumer = (
  random: Random,
  { tag, queue, prefetch, quorum }: { tag: string; queue: string; prefetch: number; quorum: boolean },
): Omit<ConsumerConfig, 'publishOn'> => ({
  tag,
  queue,
  role: 'input',
  settle: random.pick(['each', 'each', 'every', 'timer']),
  every: Math.max(1, Math.min(prefetch, random.between(2, 12))),
  order: random.pick(['serial', 'free', 'free']),
  work: random.pick([0, 2, 5, 15]),
  done: random.pick(['first', 'published', 'confirmed']),
  // RabbitMQ (3.10) closes a connection whose consumer of a quorum queue is cancelled and made anew under its tag.
  renew: !quorum && random.chance(0.08) ? random.between(10, 40) : 0,
  ask: random.chance(0.2) ? random.between(3, 15) : 0,
  polled: false,
  side: random.chance(0.15) ? random.between(2, 9) : 0,
});

/** Where an app's channels lie, and who consumes on them. */
const layout = (random: Random, traits: Traits, connections: number, reply: string): ChannelConfig[] => {
  const at = (): number => random.between(0, connections - 1);
  const publishers = random.between(0, 1);
  const channels: ChannelConfig[] = [];
  for (let index = 0; index < publishers; index++) {
    const confirm = random.chance(0.7);
    channels.push({ connection: at(), id: index + 1, confirm, prefetch: 0, global: false, consumers: [] });
  }
  // Where a consumer's outputs go: over a channel of their own, or over its own channel.
  const publishOn = (own: number): number => (publishers > 0 && random.chance(0.7) ? 0 : own);
  let made = 0;
  const consume = (queues: readonly string[]): void => {
    const own = channels.length;
    const prefetch = random.pick(PREFETCHES);
    const consumers = queues.map((queue) => {
      made += 1;
      return {
        ...consumer(random, {
          tag: `c${made}${'x'.repeat(random.between(0, 8))}`,
          queue,
          prefetch,
          quorum: traits.quorum,
        }),
        publishOn: publishOn(own),
      };
    });
    const global = !traits.quorum && random.chance(0.2);
    channels.push({ connection: at(), id: own + 1, confirm: random.chance(0.5), prefetch, global, consumers });
  };
  /** A channel of its own, on which a queue is asked for one message after the other. */
  const poll = (queue: string): void => {
    const own = channels.length;
    const consumers = [
      {
        ...consumer(random, { tag: 'polled', queue, prefetch: 5, quorum: true }),
        publishOn: publishOn(own),
        polled: true,
      },
    ];
    channels.push({
      connection: at(),
      id: own + 1,
      confirm: random.chance(0.5),
      prefetch: 0,
      global: false,
      consumers,
    });
  };
  if (traits.queues.length === 2 && random.chance(0.3)) consume(traits.queues);
  else for (const queue of traits.queues) random.chance(0.12) ? poll(queue) : consume([queue]);
  const own = channels.length;
  const replies: ConsumerConfig = {
    ...consumer(random, { tag: 'replies', queue: reply, prefetch: 50, quorum: false }),
    role: 'reply',
    order: 'free',
    publishOn: own,
    renew: 0,
    side: 0,
  };
  channels.push({ connection: at(), id: own + 1, confirm: false, prefetch: 50, global: false, consumers: [replies] });
  return channels;
};

const appConfig = (random: Random, traits: Traits, name: string): AppConfig => {
  const { prefix, seed, queues, quorum } = traits;
  const connections = random.pick([1, 1, 2]);
  const reply = `${prefix}reply-${name}`;
  const channels = layout(random, traits, connections, reply);
  return {
    name,
    seed,
    connections,
    frameMax: random.pick([4096, 8192, 131072]),
    heartbeat: random.pick([0, 60]),
    channels,
    queues: queues.map((queue) => ({ name: queue, quorum })),
    habits: {
      refuse: random.chance(0.3) ? 0.05 : 0,
      reject: random.chance(0.3) ? 0.05 : 0,
      outputs: random.pick([1, 1, 2, 3]),
      unroutable: random.chance(0.3) ? 0.1 : 0,
      call: random.chance(0.4) ? random.pick([0.1, 0.5, 1]) : 0,
      padding: random.pick(traits.chunk < 1024 ? [50, 500, 500] : [50, 500, 20_000]),
    },
    outputQueue: `${prefix}out`,
    callQueue: `${prefix}calls`,
    replyQueue: reply,
    ticks: {
      every: random.between(5, 40),
      count: random.chance(0.5) ? random.between(5, 40) : 0,
      publishOn: random.between(0, channels.length - 1),
    },
    // One that holds little and acks by timer alone would take for ever.
    flush:
      Math.min(...channels.map(({ prefetch }) => (prefetch === 0 ? 200 : prefetch))) < 5
        ? random.between(3, 20)
        : random.between(20, 120),
    late: connections > 1 && random.chance(0.3) ? random.between(3, 40) : 0,
    acksAll: random.chance(0.1),
    racy: random.chance(0.1),
  };
};

const faults = (random: Random, mode: Mode): Fault[] => {
  const list: Fault[] = [];
  const before = (): HandoffStep => random.pick(BEFORE[mode]);
  const after = (): HandoffStep => random.pick(AFTER);
  const any = (): HandoffStep => random.pick([...BEFORE[mode], ...AFTER]);
  const add = (what: Fault['what'], at: HandoffStep): void => {
    list.push({ what, at, after: random.between(0, 30) });
  };
  const luck = random.next();
  if (luck < 0.2) add('abort', before());
  else if (luck < 0.26) add('copy dies', random.pick(BEFORE[mode].slice(2)));
  else if (luck < 0.31) add('source sidecar dies', before());
  else if (luck < 0.37) add('source sidecar dies', after());
  else if (luck < 0.42) add('source power cut', after());
  else if (luck < 0.45) add('source loses broker', any());
  else if (luck < 0.48) add('copy sidecar dies', after());
  for (let count = random.pick([0, 0, 1, 2, 3]); count > 0; count--) add('links drop', any());
  return list;
};

const lossesOf = (seed: number, total: number): Loss[] => {
  const random = new Random(`${seed}/losses`);
  if (!random.chance(0.3)) return [];
  const losses = Array.from(
    { length: random.between(1, 4) },
    (): Loss => ({
      after: Math.floor(total * random.next() * 0.9),
      away: random.pick([0, 0, 30, 200]),
      all: random.chance(0.7),
    }),
  );
  return losses.sort((a, b) => a.after - b.after);
};

/** An app that does not see its losses must be told what of its publishes is lost. */
const confirming = (app: AppConfig): AppConfig => ({
  ...app,
  channels: app.channels.map((channel) => ({ ...channel, confirm: true })),
});

export const scheduleOf = (seed: number): Schedule => {
  const random = new Random(`${seed}/schedule`);
  const prefix = `s${seed}-`;
  const quorum = random.chance(0.1);
  const queues = Array.from({ length: random.pick([1, 1, 2]) }, (_, index) => `${prefix}in${index}`);
  const messages = random.between(30, 120);
  const network: Network = {
    chunk: random.pick([64, 512, 4096, 65536]),
    room: random.pick([0, 200, 4096, 1 << 20]),
    slow: random.chance(0.3),
    controlLatency: random.pick([0, 3, 15]),
  };
  const traits = { prefix, seed, queues, quorum, chunk: network.chunk };
  const plain = appConfig(random, traits, 'a');
  const rival = random.chance(0.4) ? appConfig(random, traits, 'b') : undefined;
  const total = messages * queues.length * (rival ? 0.5 : 1);
  const losses = lossesOf(seed, total);
  const app = losses.length > 0 ? confirming(plain) : plain;
  const count = random.pick([1, 1, 2, 2, 3]);
  const handoffs = Array.from({ length: count }, (_, index): HandoffPlan => {
    const mode = random.chance(0.7) ? 'replay' : 'stop';
    return {
      mode,
      after: Math.floor((total * (index + 0.2 + random.next() * 0.8)) / (count + 0.5)),
      pace: random.pick([1, 10, 40]),
      faults: faults(random, mode),
      direct: random.chance(0.2),
      onDivergence: random.chance(0.15) ? 'Report' : 'Abort',
    };
  });
  return {
    seed,
    network,
    quorum,
    messages,
    queues,
    feed: { burst: random.pick([1, 3, 20]), share: random.pick([0.1, 0.3, 1]), lead: random.pick([5, 30, 1000]) },
    app,
    rival: rival && { ...rival, habits: app.habits },
    handoffs,
    losses,
  };
};
