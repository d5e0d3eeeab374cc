/** A broker that is lost and comes back: the app keeps its connection, and nothing that was confirmed is lost (invariants 1, 2 and 6). */
import type net from 'node:net';
import { describe, expect, it } from 'vitest';
import { createRelay, SessionRelay } from '../../webhook/sidecar/relay.ts';
import {
  type Channel,
  type ChannelModel,
  type ConfirmChannel,
  type ConsumeMessage,
  expectDrained,
  log,
  publishNumbers,
  range,
  sleep,
  until,
  useBroker,
} from './support/harness.ts';

const harness = useBroker({ reattachMs: 60_000 });
const numberOf = (message: ConsumeMessage): number => Number(message.content.toString());

/** What the client sees of its end. */
const ends = (client: ChannelModel): string[] => {
  const seen: string[] = [];
  client.on('close', (error?: Error) => seen.push(`close ${error?.message ?? ''}`));
  client.on('error', (error: Error) => seen.push(`error ${error.message}`));
  return seen;
};
const upstreams = (): net.Socket[] => {
  if (!(harness.relay instanceof SessionRelay)) throw new Error('not a relay of sessions');
  return [...harness.relay.connections].flatMap(({ upstream }) => upstream ?? []);
};
const connected = (count: number): Promise<void> => until(() => upstreams().length === count, 60_000, 'attached again');

/** Publishes numbers, confirmed; what is refused it says again, until it is told to end. */
class Producer {
  readonly confirmed = new Set<number>();
  readonly refused = new Set<number>();
  private next = 1;
  private ended = false;
  private readonly channel: ConfirmChannel;
  private readonly queue: string;
  constructor(channel: ConfirmChannel, queue: string) {
    this.channel = channel;
    this.queue = queue;
  }
  private say(n: number): void {
    this.channel.sendToQueue(this.queue, Buffer.from(String(n)), { persistent: true }, (error: unknown) => {
      if (!error) this.confirmed.add(n);
      else {
        this.refused.add(n);
        setTimeout(() => this.say(n), 10);
      }
    });
  }
  async run(perTick: number, tickMs: number): Promise<void> {
    while (!this.ended) {
      for (let count = 0; count < perTick; count++) this.say(this.next++);
      await sleep(tickMs);
    }
  }
  /** All it has said is confirmed. */
  async end(): Promise<number> {
    this.ended = true;
    await sleep(20);
    await until(() => this.confirmed.size === this.next - 1, 60_000, 'all confirmed');
    return this.next - 1;
  }
}

interface Seen {
  readonly times: Map<number, number>;
  readonly redelivered: Set<number>;
  /** Most that was held unsettled at once. */
  most: number;
}

/** Settles each, or ten at once and what is left when nothing more comes. */
const consume = async (channel: Channel, queue: string, prefetch: number, batch: number): Promise<Seen> => {
  const seen: Seen = { times: new Map(), redelivered: new Set(), most: 0 };
  let held: ConsumeMessage[] = [];
  let later: NodeJS.Timeout | undefined;
  const flush = (): void => {
    const last = held.at(-1);
    held = [];
    if (last) channel.ack(last, true);
  };
  await channel.prefetch(prefetch);
  await channel.consume(queue, (message) => {
    if (!message) throw new Error('the consumer was cancelled');
    const n = numberOf(message);
    seen.times.set(n, (seen.times.get(n) ?? 0) + 1);
    if (message.fields.redelivered) seen.redelivered.add(n);
    held.push(message);
    seen.most = Math.max(seen.most, held.length);
    clearTimeout(later);
    later = setTimeout(flush, 300);
    if (held.length >= batch) flush();
  });
  return seen;
};

/** Nothing was lost. */
const checkAll = (seen: Seen, last: number): void =>
  expect([...seen.times.keys()].sort((a, b) => a - b)).toEqual(range(1, last));

/** And what came more than once is flagged, or was said more than once. */
const check = (seen: Seen, last: number, refused: ReadonlySet<number>): void => {
  checkAll(seen, last);
  const unexplained = [...seen.times].filter(([n, times]) => times > 1 && !seen.redelivered.has(n) && !refused.has(n));
  expect(unexplained).toEqual([]);
};

const KINDS: [string, Record<string, string>][] = [
  ['classic', {}],
  ['quorum', { 'x-queue-type': 'quorum' }],
];

describe('a broker that restarts under load', () => {
  it('by a crash and in order: no client sees its connection close, nothing confirmed is lost', async () => {
    const [publishing, consuming] = [await harness.app(), await harness.app()];
    const closed = [ends(publishing), ends(consuming)];
    const seen: Seen[] = [];
    const producers: Producer[] = [];
    for (const [kind, table] of KINDS) {
      const queue = `restart-${kind}`;
      const channel = await consuming.createChannel();
      await channel.assertQueue(queue, { durable: true, arguments: table });
      seen.push(await consume(channel, queue, 20, kind === 'classic' ? 1 : 10));
      producers.push(new Producer(await publishing.createConfirmChannel(), queue));
    }
    const running = producers.map((producer) => producer.run(5, 20));
    await sleep(1500);
    await harness.broker.crash();
    await sleep(1000);
    await harness.broker.start();
    await connected(2);
    await sleep(1500);
    await harness.broker.ctl('stop_app');
    await sleep(500);
    await harness.broker.ctl('start_app');
    await connected(2);
    await sleep(1500);
    const lasts = await Promise.all(producers.map((producer) => producer.end()));
    await Promise.all(running);
    await until(() => seen.every(({ times }, index) => times.size === lasts[index]), 30_000, 'all seen');
    for (const [index, each] of seen.entries()) {
      // A broker that crashes may forget which it had handed out.
      checkAll(each, lasts[index]!);
      expect(each.most).toBeLessThanOrEqual(20);
    }
    await expectDrained(harness, ...KINDS.map(([kind]) => `restart-${kind}`));
    expect(closed).toEqual([[], []]);
  }, 180_000);
});

describe('a connection that is lost', () => {
  it.each(KINDS)('by a reset, again and again: %s queue', async (kind, table) => {
    const queue = `reset-${kind}`;
    const client = await harness.app();
    const closed = ends(client);
    const channel = await client.createChannel();
    await channel.assertQueue(queue, { durable: true, arguments: table });
    const seen = await consume(channel, queue, 7, 5);
    const producer = new Producer(await client.createConfirmChannel(), queue);
    const running = producer.run(10, 20);
    for (let turn = 0; turn < 12; turn++) {
      await sleep(150 + 20 * turn);
      // Between two messages: one that is half delivered can't be hidden.
      await until(
        () => harness.relay instanceof SessionRelay && [...harness.relay.connections].every(({ hides }) => hides),
      );
      for (const socket of upstreams()) socket.destroy();
      await connected(1);
    }
    const last = await producer.end();
    await running;
    await until(() => seen.times.size === last, 30_000, 'all seen');
    check(seen, last, producer.refused);
    expect(seen.most).toBeLessThanOrEqual(7);
    await expectDrained(harness, queue);
    expect(closed).toEqual([]);
  });

  it('keeps what the app asks and publishes meanwhile, and a heartbeat, and lets one go that wants to', async () => {
    const client = await harness.app('?heartbeat=1');
    const closed = ends(client);
    const channel = await client.createChannel();
    await channel.assertQueue('meanwhile', { durable: true });
    const leaving = await harness.app();
    await leaving.createChannel();
    await harness.broker.ctl('stop_app');
    await until(() => upstreams().length === 0);
    for (let n = 1; n <= 50; n++) channel.sendToQueue('meanwhile', Buffer.from(String(n)), { persistent: true });
    const asked = channel.checkQueue('meanwhile');
    await leaving.close();
    await until(() => harness.relay.report().connections.length === 1);
    // Without a heartbeat the client would end it after two intervals.
    await sleep(4000);
    await harness.broker.ctl('start_app');
    expect(await asked).toMatchObject({ queue: 'meanwhile' });
    // Its count says little: RabbitMQ answers before it has taken in all that it was told first. The messages say all.
    const got: number[] = [];
    await (await (await harness.outside()).createChannel()).consume('meanwhile', (message) => {
      if (message) got.push(numberOf(message));
    });
    await until(() => got.length === 50);
    await sleep(300);
    expect(got).toEqual(range(1, 50));
    expect(closed).toEqual([]);
  }, 120_000);

  it('is seen before the app sees it, when the broker falls silent', async () => {
    const client = await harness.app('?heartbeat=2');
    const closed = ends(client);
    const channel = await client.createConfirmChannel();
    await channel.assertQueue('silent', { durable: true });
    await sleep(1000);
    await harness.broker.signal('SIGSTOP');
    try {
      await until(() => upstreams().length === 0, 10_000);
      await sleep(3000);
    } finally {
      await harness.broker.signal('SIGCONT');
    }
    await connected(1);
    channel.sendToQueue('silent', Buffer.from('1'), { persistent: true });
    await channel.waitForConfirms();
    expect(closed).toEqual([]);
  });

  it('is hidden when an operator closes it; stale deliveries hold up a handoff until they are settled', async () => {
    const client = await harness.app();
    const closed = ends(client);
    const channel = await client.createChannel();
    await channel.assertQueue('stale', { durable: true });
    const held: ConsumeMessage[] = [];
    await channel.prefetch(3);
    await channel.consume('stale', (message) => message && held.push(message));
    await publishNumbers(await harness.outside(), 'stale', 1, 5);
    await until(() => held.length === 3);
    const [before] = upstreams();
    await harness.broker.ctl('close_all_connections', 'maintenance');
    await until(() => upstreams().length === 1 && upstreams()[0] !== before);
    await expect(harness.relay.mute(1000)).rejects.toMatchObject({ code: 'SHADOW_E_MUTE', retryable: true });
    await sleep(300);
    expect(held.map(numberOf)).toEqual([1, 2, 3]);
    channel.ack(held[2]!, true);
    await until(() => held.length === 6);
    expect(held.slice(3).map(numberOf)).toEqual([1, 2, 3]);
    expect(held.slice(3).every(({ fields }) => fields.redelivered)).toBe(true);
    channel.ack(held[5]!, true);
    await until(() => held.length === 8);
    await harness.relay.mute(5000);
    await harness.relay.unmute();
    channel.ack(held[7]!, true);
    await expectDrained(harness, 'stale');
    expect(closed).toEqual([]);
  });

  it('is told to an app that has what can not be had again, or is refused, or has waited long enough', async () => {
    const tied = await harness.app();
    const closed = ends(tied);
    await (await tied.createChannel()).assertQueue('', { exclusive: true });
    for (const socket of upstreams()) socket.destroy();
    await until(() => closed.length > 0);

    const refused = ends(await harness.app());
    await harness.broker.ctl('change_password', 'guest', 'another');
    try {
      for (const socket of upstreams()) socket.destroy();
      await until(() => refused.length > 0);
      expect(refused[0]).toContain('ACCESS_REFUSED');
    } finally {
      await harness.broker.ctl('change_password', 'guest', 'guest');
    }
  });

  it('is told when the broker comes back without what the app has declared, and only then', async () => {
    const publishing = await harness.app();
    const closed = ends(publishing);
    await (await publishing.createChannel()).assertQueue('passing', { durable: false });
    for (const socket of upstreams()) socket.destroy();
    await connected(1);
    await sleep(300);
    expect(closed).toEqual([]);
    await harness.broker.ctl('stop_app');
    await sleep(300);
    expect(closed).toEqual([]);
    await harness.broker.ctl('start_app');
    await until(() => closed.length > 0, 30_000);
    expect(closed[0]).toContain('CONNECTION_FORCED');
  }, 120_000);

  it('is told to an app that hangs: the broker means it, and others get its messages', async () => {
    const hung = await harness.app('?heartbeat=1');
    const closed = ends(hung);
    // It says and checks nothing any more.
    (hung as unknown as { connection: { heartbeater: { clear(): void } } }).connection.heartbeater.clear();
    await until(() => closed.length > 0, 10_000);
    expect(harness.relay.reattached().hidden).toBe(0);
  });

  it('is told when patience is over', async () => {
    const { port } = harness.broker;
    const brokers = [{ host: '127.0.0.1', port, listen: '127.0.0.3' }];
    const impatient = createRelay({ brokers, blindPorts: [], log, reattachMs: 1000 });
    await impatient.start();
    try {
      const client = await harness.client('127.0.0.3');
      const closed = ends(client);
      await harness.broker.ctl('stop_app');
      await sleep(300);
      expect(closed).toEqual([]);
      await until(() => closed.length > 0);
      // In the broker's own words.
      expect(closed[0]).toContain('CONNECTION_FORCED');
    } finally {
      await harness.broker.ctl('start_app');
      await impatient.stop(0);
    }
  }, 120_000);
});
