/** All of AMQP 0-9-1 with RabbitMQ's extensions passes unharmed, and goes on after a handoff (invariants 1, 2, 3 and 6). */
import type { ChannelModel as RawModel } from 'amqplib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ARGUMENTS, encode, METHOD } from '../../webhook/sidecar/methods.ts';
import { long, longText, method, octet, short, text } from '../unit/sidecar/model/frames.ts';
import { handOff } from './support/clone.ts';
import {
  type Channel,
  type ConsumeMessage,
  expectDrained,
  publishNumbers,
  range,
  sleep,
  until,
  useBroker,
} from './support/harness.ts';
import { capabilities, type Got, Raw, type RawOptions } from './support/raw.ts';

const harness = useBroker();
const numberOf = (message: ConsumeMessage): number => Number(message.content.toString());

let raws: Raw[] = [];
afterEach(() => {
  for (const raw of raws) raw.destroy();
  raws = [];
});

/** A raw client through the relay, or one that goes to the broker directly. */
const open = async (options: RawOptions = {}, host = '127.0.0.2'): Promise<Raw> => {
  const raw = await Raw.open(host, harness.broker.port, options);
  raws.push(raw);
  return raw;
};

/** What the broker offers to new connections. */
const limits = (frameMax: number, channelMax: number): Promise<string> =>
  harness.broker.ctl(
    'eval',
    `[application:set_env(rabbit, K, V) || {K, V} <- [{frame_max, ${frameMax}}, {channel_max, ${channelMax}}]].`,
  );

const declare = (raw: Raw, channel: number, queue: string): Promise<Got> =>
  raw.ask(method(channel, METHOD.queueDeclare, short(0), text(queue), octet(0), long(0)), METHOD.queueDeclareOk);
const get = (raw: Raw, channel: number, queue: string): Promise<Got> => {
  raw.send(method(channel, METHOD.basicGet, short(0), text(queue), octet(0)));
  return raw.nextOf([METHOD.basicGetOk, METHOD.basicGetEmpty]);
};
const ack = (channel: number, of: Got): Buffer => encode.settle(channel, 'ack', Raw.tagOf(of), false, false);

/** It publishes, confirmed, and gets the same back. */
const works = async (raw: Raw, queue: string, body: string): Promise<void> => {
  raw.publish(1, queue, body);
  await raw.next(METHOD.basicAck);
  const got = await get(raw, 1, queue);
  expect(got.content?.body.length).toBe(body.length);
  expect(got.content?.body).toBe(body);
  raw.send(ack(1, got));
};

const ready = async (raw: Raw, queue: string): Promise<void> => {
  await raw.channel(1);
  await raw.ask(encode.confirmSelect(1), METHOD.confirmSelectOk);
  await declare(raw, 1, queue);
};

const amqplain = (user: string, password: string): Buffer =>
  Buffer.concat([
    text('LOGIN'),
    Buffer.from('S'),
    longText(user),
    text('PASSWORD'),
    Buffer.from('S'),
    longText(password),
  ]);

describe('SASL', () => {
  const MECHANISMS: RawOptions[] = [
    { mechanism: 'PLAIN' },
    { mechanism: 'AMQPLAIN', response: amqplain('guest', 'guest') },
    { mechanism: 'RABBIT-CR-DEMO', response: Buffer.from('guest'), answers: ['My password is guest'] },
  ];
  beforeAll(() =>
    harness.broker.ctl(
      'eval',
      "application:set_env(rabbit, auth_mechanisms, ['PLAIN', 'AMQPLAIN', 'RABBIT-CR-DEMO']).",
    ),
  );

  it.each(MECHANISMS)('$mechanism, repeated for the copy', async (options) => {
    const raw = await open(options);
    expect(raw.mechanisms.split(' ').sort()).toEqual(['AMQPLAIN', 'PLAIN', 'RABBIT-CR-DEMO']);
    await ready(raw, 'sasl');
    await works(raw, 'sasl', 'before');
    const handoff = await handOff(harness.relay);
    await works(raw, 'sasl', 'after');
    await handoff.finish();
    expect(handoff.losses).toEqual([]);
  });

  it.each([
    { mechanism: 'PLAIN', response: Buffer.from('\0guest\0wrong') },
    { mechanism: 'AMQPLAIN', response: amqplain('guest', 'wrong') },
    { mechanism: 'RABBIT-CR-DEMO', response: Buffer.from('guest'), answers: ['My password is wrong'] },
    { mechanism: 'EXTERNAL', response: Buffer.alloc(0) },
  ])('$mechanism refused: the app hears what the broker says', async (options) => {
    const refusal = async (host: string): Promise<string> => {
      const raw = await Raw.connect(host, harness.broker.port);
      raws.push(raw);
      const told = raw.handshake({ ...options, properties: capabilities('authentication_failure_close') });
      await told.catch(() => undefined);
      await until(() => raw.ended || raw.got.length > 0);
      const [close] = raw.got;
      return close === undefined ? 'closed' : JSON.stringify(Raw.closeOf(close));
    };
    const direct = await refusal('127.0.0.1');
    if (options.mechanism !== 'EXTERNAL') expect(direct).toContain('403');
    expect(await refusal('127.0.0.2')).toBe(direct);
  });
});

describe('frame_max and channel_max', () => {
  const big = 'x'.repeat(70_001);

  it('the smallest: 4096 bytes and one channel', async () => {
    const raw = await open({ tune: { frameMax: 4096, channelMax: 1 } });
    await ready(raw, 'smallest');
    await works(raw, 'smallest', big);
    const handoff = await handOff(harness.relay);
    await works(raw, 'smallest', big);
    await handoff.finish();
    // It is the broker's limit that the app runs into, as ever.
    raw.send(encode.channelOpen(2));
    expect(Raw.closeOf(await raw.next(METHOD.connectionClose)).code).toBe(530);
  });

  it('none at all', async () => {
    await limits(0, 0);
    try {
      const raw = await open();
      expect(raw.offered).toMatchObject({ frameMax: 0, channelMax: 0 });
      await ready(raw, 'unlimited');
      await raw.channel(65_535);
      await works(raw, 'unlimited', 'y'.repeat(900_001));
      const handoff = await handOff(harness.relay);
      await works(raw, 'unlimited', 'z'.repeat(900_001));
      await raw.ask(method(65_535, METHOD.basicQos, long(0), short(1), octet(0)), METHOD.basicQosOk);
      await handoff.finish();
    } finally {
      await limits(131_072, 2047);
    }
  });

  it('a broker that now offers less is refused, and the app goes on', async () => {
    const raw = await open({ tune: { frameMax: 131_072 } });
    await ready(raw, 'less');
    await limits(65_536, 2047);
    try {
      const refused = handOff(harness.relay);
      await expect(refused).rejects.toMatchObject({
        code: 'SHADOW_E_ATTACH',
        message: expect.stringContaining('frame_max'),
      });
    } finally {
      await limits(131_072, 2047);
    }
  });
});

describe('heartbeats', () => {
  it('every second, both ways: idle, mute, without an upstream, and after', async () => {
    const client = await harness.app('?heartbeat=1');
    let closed = false;
    client.on('close', () => {
      closed = true;
    });
    const channel = await client.createConfirmChannel();
    await channel.assertQueue('beats');
    const raw = await open({ tune: { heartbeat: 1 } });
    const beats = async (ms: number): Promise<number> => {
      const before = raw.heartbeats;
      await sleep(ms);
      return raw.heartbeats - before;
    };
    expect(await beats(2000)).toBeGreaterThanOrEqual(1);
    await harness.relay.mute(5000);
    // Mute for longer than the broker waits for a client that says nothing (two intervals and a half).
    expect(await beats(3000)).toBeGreaterThanOrEqual(2);
    await harness.relay.unmute();
    const before = raw.heartbeats;
    // The copy has no upstream for longer than a client waits.
    const handoff = await handOff(harness.relay, { pauseMs: 3000 });
    expect(raw.heartbeats - before).toBeGreaterThanOrEqual(2);
    expect(await beats(2000)).toBeGreaterThanOrEqual(1);
    await handoff.finish();
    channel.sendToQueue('beats', Buffer.from('1'));
    await channel.waitForConfirms();
    expect([closed, raw.ended]).toEqual([false, false]);
  }, 60_000);

  it('none, if the app wants none', async () => {
    const raw = await open({ tune: { heartbeat: 0 } });
    await ready(raw, 'no-beats');
    const handoff = await handOff(harness.relay, { pauseMs: 300 });
    await works(raw, 'no-beats', 'quiet');
    await handoff.finish();
    expect(raw.heartbeats).toBe(0);
  });
});

describe('basic.recover', () => {
  it('hands all out again, what was carried too, each once and flagged', async () => {
    const outside = await harness.outside();
    const channel = await (await harness.app()).createChannel();
    await channel.assertQueue('recover');
    const seen: [number, boolean][] = [];
    const held: ConsumeMessage[] = [];
    await channel.prefetch(4);
    await channel.consume('recover', (message) => {
      if (!message) return;
      seen.push([numberOf(message), message.fields.redelivered]);
      held.push(message);
    });
    await publishNumbers(outside, 'recover', 1, 4);
    await until(() => held.length === 4);
    held.splice(0);
    await channel.recover();
    await until(() => held.length === 4, 5000, 'again');
    expect(seen.splice(0).slice(4)).toEqual(range(1, 4).map((n) => [n, true]));
    const handoff = await handOff(harness.relay);
    expect(handoff.carried).toBe(4);
    held.splice(0);
    await channel.recover();
    await until(() => held.length === 4, 5000, 'again from the copy');
    expect(seen.toSorted()).toEqual(range(1, 4).map((n) => [n, true]));
    channel.ackAll();
    await handoff.finish();
    expect(handoff.losses).toEqual([]);
    await expectDrained(harness, 'recover');
  });
});

describe('acknowledgements', () => {
  it('multiple, and of tag 0: all there is, carried or not', async () => {
    const outside = await harness.outside();
    const raw = await open();
    await ready(raw, 'many');
    const consume = { tag: 'c', queue: 'many', noLocal: false, noAck: false, exclusive: false, arguments: long(0) };
    await raw.ask(encode.consume(1, consume), METHOD.basicConsumeOk);
    const take = async (count: number): Promise<Got[]> => {
      const taken: Got[] = [];
      while (taken.length < count) taken.push(await raw.next(METHOD.basicDeliver));
      return taken;
    };
    await publishNumbers(outside, 'many', 1, 10);
    const first = await take(10);
    raw.send(encode.settle(1, 'ack', Raw.tagOf(first[3]!), true, false));
    await declare(raw, 1, 'many');
    const handoff = await handOff(harness.relay);
    expect(handoff.carried).toBe(6);
    // Five to six are of the source, the rest is.
    raw.send(encode.settle(1, 'ack', Raw.tagOf(first[5]!), true, false));
    await publishNumbers(outside, 'many', 11, 14);
    raw.send(encode.settle(1, 'ack', Raw.tagOf(first[9]!), true, false));
    const second = await take(4);
    expect(second.map(Raw.tagOf)).toEqual(range(11, 14));
    expect(second.map(({ content }) => Number(content?.body))).toEqual(range(11, 14));
    raw.send(encode.settle(1, 'ack', 0, true, false));
    await handoff.finish();
    // Nothing is left of them: the broker would close the channel at an unknown tag.
    await expectDrained(harness, 'many');
    raw.send(encode.settle(1, 'ack', 0, true, false));
    await declare(raw, 1, 'many');
  });
});

describe('transactions', () => {
  const select = (): Buffer => method(1, METHOD.txSelect);
  const [COMMIT, COMMIT_OK, ROLLBACK, ROLLBACK_OK] = [20, 21, 30, 31].map((each) => (90 << 16) | each) as [
    number,
    number,
    number,
    number,
  ];

  it('pass, and are refused by name to a handoff', async () => {
    const raw = await open();
    await raw.channel(1);
    await declare(raw, 1, 'tx');
    await raw.ask(select(), METHOD.txSelect + 1);
    raw.publish(1, 'tx', 'one');
    await raw.ask(method(1, ROLLBACK), ROLLBACK_OK);
    raw.publish(1, 'tx', 'two');
    await raw.ask(method(1, COMMIT), COMMIT_OK);
    const got = await get(raw, 1, 'tx');
    expect(got.content?.body).toBe('two');
    raw.send(ack(1, got));
    await expect(harness.relay.mute(1000)).rejects.toMatchObject({
      code: 'SHADOW_E_SESSION',
      message: expect.stringContaining('connection 1, channel 1: uses transactions'),
    });
    await raw.ask(method(1, ROLLBACK), ROLLBACK_OK);
    // Rolled back: the ack never was.
    await raw.ask(method(1, METHOD.basicRecover, octet(1)), METHOD.basicRecoverOk);
    const again = await get(raw, 1, 'tx');
    expect(again.content?.body).toBe('two');
    raw.send(ack(1, again));
    await raw.ask(method(1, COMMIT), COMMIT_OK);
    await expectDrained(harness, 'tx');
    // It goes with its channel.
    await raw.ask(method(1, METHOD.channelClose, short(200), text(''), short(0), short(0)), METHOD.channelCloseOk);
    await harness.relay.mute(5000);
    await harness.relay.unmute();
  });
});

describe('the broker of itself', () => {
  it('cancels a consumer whose queue is deleted', async () => {
    const outside = await (await harness.outside()).createChannel();
    const client = await harness.app();
    const channel = await client.createChannel();
    const cancelled: string[] = [];
    for (const name of ['doomed', 'spared']) {
      await channel.assertQueue(name);
      await channel.consume(name, (message) => !message && cancelled.push(name));
    }
    await outside.deleteQueue('doomed');
    await until(() => cancelled.length > 0);
    expect(cancelled).toEqual(['doomed']);
    expect(harness.relay.report().connections[0]?.channels[0]?.consumers.map(({ queue }) => queue)).toEqual(['spared']);
    const handoff = await handOff(harness.relay);
    await handoff.finish();
    await channel.checkQueue('spared');
    expect(cancelled).toEqual(['doomed']);
  });

  it('blocks publishers when it is short of memory: they hear it, and nothing is lost', async () => {
    const outside = await harness.outside();
    const client = await harness.app();
    const channel = await client.createConfirmChannel();
    await channel.assertQueue('alarm');
    const heard: string[] = [];
    client.on('blocked', () => heard.push('blocked'));
    client.on('unblocked', () => heard.push('unblocked'));
    await harness.broker.ctl('set_vm_memory_high_watermark', '0.00001');
    try {
      for (let n = 1; n <= 20; n++) channel.sendToQueue('alarm', Buffer.from(String(n)));
      await until(() => heard.includes('blocked'));
      // A source can't become mute without the outcome of what it has forwarded, and goes on as before.
      await expect(harness.relay.mute(500)).rejects.toMatchObject({ code: 'SHADOW_E_MUTE' });
      for (let n = 21; n <= 40; n++) channel.sendToQueue('alarm', Buffer.from(String(n)));
    } finally {
      await harness.broker.ctl('set_vm_memory_high_watermark', '0.4');
    }
    await until(() => heard.includes('unblocked'));
    await channel.waitForConfirms();
    const reader = await outside.createChannel();
    const read: number[] = [];
    await reader.consume('alarm', (message) => message && read.push(numberOf(message)), { noAck: true });
    await until(() => read.length >= 40);
    expect(read).toEqual(range(1, 40));
    expect(heard).toEqual(['blocked', 'unblocked']);
  });

  it('renews a secret, which is refused by name to a handoff', async () => {
    const client = (await harness.app()) as RawModel & { updateSecret(secret: Buffer, reason: string): Promise<void> };
    const channel = await client.createChannel();
    await channel.assertQueue('secret');
    const renewed = await client.updateSecret(Buffer.from('guest'), 'a test').then(
      () => 'renewed',
      (error: Error) => error.message,
    );
    expect(renewed).toBe('renewed');
    await expect(harness.relay.mute(1000)).rejects.toMatchObject({
      code: 'SHADOW_E_SESSION',
      message: expect.stringContaining("renewed its secret, so its handshake can't be repeated"),
    });
    await channel.checkQueue('secret');
  });
});

/** Numbers a consumer is given, acked at once. */
const reading = async (channel: Channel, queue: string, args: Record<string, unknown> = {}): Promise<number[]> => {
  const seen: number[] = [];
  await channel.consume(
    queue,
    (message) => {
      if (!message) return;
      seen.push(numberOf(message));
      channel.ack(message);
    },
    { arguments: args },
  );
  return seen;
};

describe('consumers beside others', () => {
  it('single active consumer: the second takes over when the first goes', async () => {
    const outside = await harness.outside();
    const [one, two] = [await harness.app(), await harness.app()];
    const channels = [await one.createChannel(), await two.createChannel()] as const;
    await channels[0].assertQueue('sac', { arguments: { 'x-single-active-consumer': true } });
    const seen = [await reading(channels[0], 'sac'), await reading(channels[1], 'sac')] as const;
    await publishNumbers(outside, 'sac', 1, 20);
    await until(() => seen[0].length === 20);
    expect(seen[1]).toEqual([]);
    await channels[0].close();
    await publishNumbers(outside, 'sac', 21, 40);
    await until(() => seen[1].length === 20);
    expect(seen[1]).toEqual(range(21, 40));
    await expectDrained(harness, 'sac');
  });

  it('priorities: who has the higher one is given all, the copy too', async () => {
    const outside = await harness.outside();
    const rival = await outside.createChannel();
    const channel = await (await harness.app()).createChannel();
    await channel.assertQueue('priority');
    const low = await reading(rival, 'priority', { 'x-priority': 1 });
    const high = await reading(channel, 'priority', { 'x-priority': 10 });
    await publishNumbers(outside, 'priority', 1, 50);
    await until(() => high.length === 50);
    const handoff = await handOff(harness.relay);
    await handoff.finish();
    await sleep(50);
    await publishNumbers(outside, 'priority', 51, 100);
    await until(() => high.length === 100);
    expect([high, low]).toEqual([range(1, 100), []]);
    await expectDrained(harness, 'priority');
  });

  it('a global prefetch holds for all consumers of the channel, before and after a handoff', async () => {
    const outside = await harness.outside();
    const channel = await (await harness.app()).createChannel();
    for (const name of ['global-1', 'global-2']) await channel.assertQueue(name);
    await channel.prefetch(5, true);
    const held: ConsumeMessage[] = [];
    let most = 0;
    const seen: string[] = [];
    for (const name of ['global-1', 'global-2'])
      await channel.consume(name, (message) => {
        if (!message) return;
        held.push(message);
        most = Math.max(most, held.length);
        seen.push(`${name} ${numberOf(message)}`);
      });
    for (const name of ['global-1', 'global-2']) await publishNumbers(outside, name, 1, 60);
    await until(() => held.length === 5);
    let handoff: Awaited<ReturnType<typeof handOff>> | undefined;
    for (let turn = 0; seen.length < 120 || held.length > 0; turn++) {
      if (turn === 40) {
        await until(() => held.length === 5);
        handoff = await handOff(harness.relay);
        expect(handoff.carried).toBe(5);
        await sleep(100);
        expect(held).toHaveLength(5);
      }
      const next = held.shift();
      if (next) channel.ack(next);
      else await sleep(1);
      await sleep(1);
      if (turn > 5000) throw new Error(`only ${seen.length} came`);
    }
    await handoff?.finish();
    expect(most).toBe(5);
    for (const name of ['global-1', 'global-2'])
      expect(seen.filter((each) => each.startsWith(name))).toEqual(range(1, 60).map((n) => `${name} ${n}`));
    await expectDrained(harness, 'global-1', 'global-2');
  });
});

describe('streams', () => {
  const STREAM = { durable: true, arguments: { 'x-queue-type': 'stream' } };
  const offsets: unknown[] = ['first', 100, { '!': 'timestamp', value: 0 }];

  it.each(offsets)('from %j: each message once and in order, over an un-mute and two handoffs', async (offset) => {
    const name = `stream-${offsets.indexOf(offset)}`;
    const outside = await harness.outside();
    const channel = await (await harness.app()).createChannel();
    await channel.assertQueue(name, STREAM);
    await publishNumbers(outside, name, 0, 199);
    await channel.prefetch(20);
    const seen = await reading(channel, name, { 'x-stream-offset': offset });
    const first = offset === 100 ? 100 : 0;
    await until(() => seen.length >= 20);
    await harness.relay.mute(5000);
    await publishNumbers(outside, name, 200, 249);
    await harness.relay.unmute();
    for (let turn = 0; turn < 2; turn++) {
      const handoff = await handOff(harness.relay, { pauseMs: 20 });
      await publishNumbers(outside, name, 250 + 50 * turn, 299 + 50 * turn);
      await handoff.finish();
      expect(handoff.losses).toEqual([]);
    }
    await until(() => seen.length >= 350 - first);
    await sleep(100);
    expect(seen).toEqual(range(first, 349));
  });

  it('from the next one: refused as long as nothing has come, and then exact', async () => {
    const outside = await harness.outside();
    const channel = await (await harness.app()).createChannel();
    await channel.assertQueue('stream-next', STREAM);
    await channel.prefetch(5);
    const seen = await reading(channel, 'stream-next');
    await expect(harness.relay.mute(1000)).rejects.toMatchObject({
      code: 'SHADOW_E_SESSION',
      message: expect.stringContaining("consumes queue stream-next from 'next' on, and has had nothing of it yet"),
    });
    await publishNumbers(outside, 'stream-next', 1, 3);
    await until(() => seen.length === 3);
    const handoff = await handOff(harness.relay);
    await publishNumbers(outside, 'stream-next', 4, 9);
    await handoff.finish();
    await until(() => seen.length >= 9);
    expect(seen).toEqual(range(1, 9));
  });
});

describe('sizes', () => {
  it('16 MiB, and nothing at all, there and back through a handoff', async () => {
    const channel = await (await harness.app()).createConfirmChannel();
    await channel.assertQueue('sizes');
    const bodies = [Buffer.alloc(16 << 20, 'a'), Buffer.alloc(0), Buffer.alloc(16 << 20, 'b')];
    const got: Buffer[] = [];
    await channel.prefetch(1);
    await channel.consume('sizes', (message) => {
      if (!message) return;
      got.push(message.content);
      channel.ack(message);
    });
    for (const body of bodies) channel.sendToQueue('sizes', body);
    const handoff = await handOff(harness.relay);
    for (const body of bodies) channel.sendToQueue('sizes', body);
    await channel.waitForConfirms();
    await handoff.finish();
    await until(() => got.length >= 6);
    for (const [index, body] of [...bodies, ...bodies].entries()) expect(got[index]!.equals(body)).toBe(true);
    await expectDrained(harness, 'sizes');
  });
});

describe('channels by the thousands', () => {
  beforeAll(() => limits(131_072, 0));
  afterAll(() => limits(131_072, 2047));

  it('each of 3000 keeps its place through a handoff', async () => {
    const count = 3000;
    const raw = await open();
    raw.send(...range(1, count).map((id) => encode.channelOpen(id)));
    await until(() => raw.got.length >= count, 20_000, 'open-ok');
    raw.got.length = 0;
    await declare(raw, count, 'crowd');
    raw.send(...range(1, count).map((id) => encode.confirmSelect(id)));
    await until(() => raw.got.length >= count, 20_000, 'select-ok');
    raw.got.length = 0;
    for (const id of range(1, count)) raw.publish(id, 'crowd', String(id));
    await until(() => raw.got.length >= count, 20_000, 'confirms');
    raw.got.length = 0;
    const began = performance.now();
    const handoff = await handOff(harness.relay);
    await handoff.finish();
    expect(performance.now() - began).toBeLessThan(10_000);
    for (const id of range(1, count)) raw.publish(id, 'crowd', String(id));
    await until(() => raw.got.length >= count, 20_000, 'confirms');
    // Each is the second of its channel.
    expect(raw.got.map(({ bytes }) => Number(bytes.readBigUInt64BE(11))).every((seq) => seq === 2)).toBe(true);
    expect(new Set(raw.got.map(({ channel }) => channel)).size).toBe(count);
    const declared = (await declare(raw, 1, 'crowd')).bytes;
    expect(declared.readUInt32BE(ARGUMENTS + 1 + 'crowd'.length)).toBe(2 * count);
  }, 90_000);
});
