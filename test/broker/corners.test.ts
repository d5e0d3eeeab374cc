/** What may happen to an app's channels, messages and queues while it is handed over (invariants 1 to 4). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encode, METHOD } from '../../webhook/sidecar/methods.ts';
import { content, method, octet, short, text } from '../unit/sidecar/model/frames.ts';
import { handOff } from './support/clone.ts';
import {
  type Channel,
  type ChannelModel,
  type ConsumeMessage,
  expectDrained,
  publishNumbers,
  range,
  sleep,
  until,
  useBroker,
} from './support/harness.ts';
import { type Got, Raw } from './support/raw.ts';

const harness = useBroker();
const numberOf = (message: ConsumeMessage): number => Number(message.content.toString());

/** What a queue holds, taken from it. */
const taken = async (queue: string): Promise<ConsumeMessage[]> => {
  const channel = await (await harness.outside()).createChannel();
  const found: ConsumeMessage[] = [];
  for (let idle = 0; idle < 3; ) {
    const message = await channel.get(queue, { noAck: true });
    if (message) found.push(message as unknown as ConsumeMessage);
    else {
      idle += 1;
      await sleep(20);
    }
  }
  return found;
};

/** Handoffs one after the other while `busy` lasts. */
const handOffs = async (busy: Promise<unknown>, least = 3): Promise<void> => {
  let over = false;
  void busy.finally(() => {
    over = true;
  });
  for (let turn = 0; turn < least || !over; turn++) {
    const handoff = await handOff(harness.relay, { latencyMs: 2, pauseMs: 10 });
    await handoff.finish();
    expect(handoff.losses).toEqual([]);
    await sleep(30);
  }
  await busy;
};

/** What a publisher is told; throws what no broker would say. Publish n has the number n as its body. */
class Outcomes {
  readonly confirmed = new Set<number>();
  readonly returned: number[] = [];

  add(got: Got): void {
    if (got.method === METHOD.basicReturn) {
      const n = Number(got.content?.body);
      expect([n, this.returned.includes(n), this.confirmed.has(n)]).toEqual([n, false, false]);
      this.returned.push(n);
      return;
    }
    expect(got.method).toBe(METHOD.basicAck);
    const seq = Raw.tagOf(got);
    expect([seq, this.confirmed.has(seq)]).toEqual([seq, false]);
    this.confirmed.add(seq);
    const multiple = (got.bytes[19]! & 1) !== 0;
    if (multiple) for (let each = 1; each < seq; each++) this.confirmed.add(each);
  }
}

describe('publishes at a handoff', () => {
  it('without confirms: each once, in order', async () => {
    const channel = await (await harness.app()).createChannel();
    await channel.assertQueue('plain');
    const publishing = (async () => {
      for (let n = 1; n <= 2000; n++) {
        channel.sendToQueue('plain', Buffer.from(String(n)));
        if (n % 20 === 0) await sleep(5);
      }
    })();
    await handOffs(publishing);
    await channel.checkQueue('plain');
    expect((await taken('plain')).map(numberOf)).toEqual(range(1, 2000));
  });

  it('with confirms and returns: each return before its own confirm, none twice', async () => {
    const raw = await Raw.open('127.0.0.2', harness.broker.port);
    await raw.channel(1);
    await raw.ask(encode.confirmSelect(1), METHOD.confirmSelectOk);
    raw.send(method(1, METHOD.queueDeclare, short(0), text('kept'), octet(0), Buffer.alloc(4)));
    await raw.next(METHOD.queueDeclareOk);
    const publishing = (async () => {
      for (let n = 1; n <= 900; n++) {
        raw.publish(1, n % 3 === 0 ? 'nowhere' : 'kept', String(n), true);
        if (n % 10 === 0) await sleep(5);
      }
    })();
    await handOffs(publishing);
    const told = new Outcomes();
    await until(() => {
      for (const got of raw.got.splice(0)) told.add(got);
      return told.confirmed.size === 900;
    });
    expect(told.returned).toEqual(range(1, 300).map((n) => 3 * n));
    raw.destroy();
    expect((await taken('kept')).map(numberOf)).toEqual(range(1, 900).filter((n) => n % 3 !== 0));
  });
});

describe('a content half sent at the cut', () => {
  const publish = (size: number): Buffer =>
    Buffer.concat([
      method(1, METHOD.basicPublish, short(0), text(''), text('half'), octet(0)),
      ...content(1, { correlation: '', body: 'h'.repeat(size) }, 131_064),
    ]);

  const publisher = async (): Promise<Raw> => {
    const raw = await Raw.open('127.0.0.2', harness.broker.port);
    await raw.channel(1);
    await raw.ask(encode.confirmSelect(1), METHOD.confirmSelectOk);
    raw.send(method(1, METHOD.queueDeclare, short(0), text('half'), octet(0), Buffer.alloc(4)));
    await raw.next(METHOD.queueDeclareOk);
    return raw;
  };

  it('by the app: the mute waits for its rest, or is undone; what follows waits', async () => {
    const raw = await publisher();
    const bytes = publish(3_000_000);
    raw.send(bytes.subarray(0, 1_000_003));
    await sleep(100);
    await expect(harness.relay.mute(300)).rejects.toMatchObject({ code: 'SHADOW_E_MUTE' });
    const muting = harness.relay.mute(5000);
    await sleep(50);
    raw.send(bytes.subarray(1_000_003), publish(5));
    await muting;
    await raw.next(METHOD.basicAck);
    await sleep(50);
    expect(harness.relay.report().published).toBe(1);
    expect(raw.got).toEqual([]);
    await harness.relay.unmute();
    await raw.next(METHOD.basicAck);
    raw.destroy();
    expect((await taken('half')).map(({ content: body }) => body.length)).toEqual([3_000_000, 5]);
  });

  it('to an app that reads slowly: it gets the rest of it, once', async () => {
    const raw = await publisher();
    const outside = await (await harness.outside()).createConfirmChannel();
    for (let n = 0; n < 6; n++) outside.sendToQueue('half', Buffer.alloc(4_000_000 + n, 'd'));
    await outside.waitForConfirms();
    raw.socket.pause();
    const consume = { tag: 'c', queue: 'half', noLocal: false, noAck: false, exclusive: false };
    raw.send(encode.qos(1, 6, false), encode.consume(1, { ...consume, arguments: Buffer.alloc(4) }));
    await sleep(300);
    expect(harness.buffered()).toBeGreaterThan(0);
    const handoff = await handOff(harness.relay);
    raw.socket.resume();
    const got = [];
    while (got.length < 6) got.push(await raw.next(METHOD.basicDeliver));
    expect(got.map(({ content: each }) => each?.body.length)).toEqual(range(4_000_000, 4_000_005));
    raw.send(encode.settle(1, 'ack', 0, true, false));
    await handoff.finish();
    expect(handoff.losses).toEqual([]);
    await expectDrained(harness, 'half');
    raw.destroy();
  });

  it("of the broker's limit: 128 MiB, or the 16 of RabbitMQ 4", async () => {
    const limit = (process.env.SHADOW_TEST_RABBITMQ === '4' ? 16 : 128) << 20;
    const channel = await (await harness.app()).createConfirmChannel();
    await channel.assertQueue('largest');
    const sizes: number[] = [];
    await channel.consume('largest', (message) => {
      if (!message) return;
      sizes.push(message.content.length);
      channel.ack(message);
    });
    channel.sendToQueue('largest', Buffer.alloc(limit, 'l'));
    await sleep(50);
    const handoff = await handOff(harness.relay);
    await channel.waitForConfirms();
    await until(() => sizes.length > 0, 30_000);
    await handoff.finish();
    expect(handoff.losses).toEqual([]);
    await expectDrained(harness, 'largest');
    // One byte more is the broker's to refuse, to that channel alone.
    const errors: string[] = [];
    channel.on('error', (error: Error) => errors.push(error.message));
    channel.sendToQueue('largest', Buffer.alloc(limit + 1, 'm'));
    await until(() => errors.length > 0, 30_000);
    expect(errors[0]).toContain('PRECONDITION_FAILED - message size');
    expect(sizes).toEqual([limit]);
  });
});

/** Opens and closes, consumes and cancels, without a rest. Returns how often; throws what goes wrong. */
const churn = async (client: ChannelModel, name: string, over: () => boolean): Promise<number> => {
  let turns = 0;
  for (; !over(); turns++) {
    const channel = await client.createConfirmChannel();
    await channel.assertQueue(name);
    const seen: number[] = [];
    const { consumerTag } = await channel.consume(name, (message) => {
      if (!message) return;
      seen.push(numberOf(message));
      channel.ack(message);
    });
    channel.sendToQueue(name, Buffer.from(String(turns)));
    await channel.waitForConfirms();
    await until(() => seen.length === 1, 10_000, `${name}, turn ${turns}`);
    expect(seen).toEqual([turns]);
    await channel.cancel(consumerTag);
    await channel.close();
  }
  return turns;
};

describe('what opens and closes at a handoff', () => {
  it('channels, consumers and connections: every request has its answer', async () => {
    let over = false;
    const stop = (): boolean => over;
    const steady = await harness.app();
    const busy = [churn(steady, 'churn-1', stop), churn(steady, 'churn-2', stop)];
    busy.push(
      (async () => {
        let turns = 0;
        for (; !over; turns++) {
          const client = await harness.app();
          const channel = await client.createChannel();
          await channel.assertQueue('churn-3');
          await client.close();
        }
        return turns;
      })(),
    );
    const all = Promise.all(busy);
    all.catch(() => undefined);
    for (let turn = 0; turn < 8; turn++) {
      const handoff = await Promise.race([
        handOff(harness.relay, { latencyMs: 3, pauseMs: 15 }),
        all.then(() => {
          throw new Error('it stopped by itself');
        }),
      ]);
      await handoff.finish();
      expect(handoff.losses).toEqual([]);
      await sleep(20);
    }
    over = true;
    const turns = await all;
    for (const each of turns) expect(each).toBeGreaterThan(4);
    await until(() => harness.relay.report().connections.length === 1);
    await until(() => harness.relay.report().connections[0]?.channels.length === 0);
    await expectDrained(harness, 'churn-1', 'churn-2', 'churn-3');
  });

  it('a channel that errs as the mute begins, and one that errs after: the app hears it, the rest goes on', async () => {
    const outside = await harness.outside();
    const client = await harness.app();
    const errors: string[] = [];
    const channels: Channel[] = [];
    for (const name of ['err-1', 'err-2', 'err-3']) {
      const channel = await client.createChannel();
      channel.on('error', (error: Error) => errors.push(`${name} ${error.message}`));
      await channel.assertQueue(name);
      await publishNumbers(outside, name, 1, 3);
      channels.push(channel);
    }
    const held = new Map<number, ConsumeMessage[]>();
    for (const [index, channel] of channels.entries())
      await channel.consume(`err-${index + 1}`, (message) => {
        if (message) held.set(index, [...(held.get(index) ?? []), message]);
      });
    await until(() => [...held.values()].flat().length === 9);
    const unknown = { fields: { deliveryTag: 77 } } as ConsumeMessage;
    channels[0]!.ack(unknown);
    await new Promise((resolve) => setImmediate(resolve));
    const handoff = await handOff(harness.relay);
    await until(() => errors.length === 1);
    channels[1]!.ack(unknown);
    await until(() => errors.length === 2);
    expect(errors.map((error) => error.slice(0, 5))).toEqual(['err-1', 'err-2']);
    for (const error of errors) expect(error).toMatch(/PRECONDITION_FAILED - unknown delivery tag/);
    channels[2]!.ackAll();
    await handoff.finish();
    expect(handoff.losses).toEqual([]);
    // What the closed ones held is the broker's again, flagged.
    for (const name of ['err-1', 'err-2']) {
      const back = await taken(name);
      expect(back.map((each) => [numberOf(each), each.fields.redelivered])).toEqual(range(1, 3).map((n) => [n, true]));
    }
    await expectDrained(harness, 'err-3');
    await client.createChannel();
  });
});

describe('refusals of what was carried', () => {
  it('nack and reject, with and without requeue, multiple or not: dead letters once, the rest again and flagged', async () => {
    const outside = await harness.outside();
    const channel = await (await harness.app()).createChannel();
    const dead = { deadLetterExchange: '', deadLetterRoutingKey: 'dead' };
    await channel.assertQueue('dead');
    await channel.assertQueue('sick', dead);
    await channel.prefetch(20);
    const first: ConsumeMessage[] = [];
    const again: ConsumeMessage[] = [];
    await channel.consume('sick', (message) => {
      if (message) (message.fields.redelivered ? again : first).push(message);
    });
    await publishNumbers(outside, 'sick', 1, 12);
    await until(() => first.length === 12);
    const handoff = await handOff(harness.relay);
    expect(handoff.carried).toBe(12);
    // 1 to 3 dead, 4 to 6 again, 7 dead, 8 again; 9 to 12 are done.
    channel.nack(first[2]!, true, false);
    channel.nack(first[5]!, true, true);
    channel.reject(first[6]!, false);
    channel.reject(first[7]!, true);
    channel.ack(first[11]!, true);
    await handoff.finish();
    await until(() => again.length === 4);
    expect(again.map(numberOf).sort((a, b) => a - b)).toEqual([4, 5, 6, 8]);
    for (const message of again) channel.ack(message);
    await publishNumbers(outside, 'sick', 13, 13);
    await until(() => first.length === 13);
    channel.nack(first[12]!, false, false);
    await expectDrained(harness, 'sick');
    const letters = await taken('dead');
    expect(letters.map(numberOf)).toEqual([1, 2, 3, 7, 13]);
    for (const letter of letters)
      expect(letter.properties.headers?.['x-death']).toMatchObject([{ count: 1, reason: 'rejected' }]);
    expect(handoff.losses).toEqual([]);
  });
});

describe('what the broker does meanwhile', () => {
  // It would have been a cancel, had the consumer been there; consuming from what is gone closes a channel.
  it('deletes a queue whose consumer we have cancelled: its channel is closed, by name, and no other', async () => {
    const outside = await harness.outside();
    const client = await harness.app();
    const told: string[] = [];
    const seen: number[] = [];
    for (const name of ['fallen', 'standing']) {
      const channel = await client.createChannel();
      channel.on('error', (error: Error) => told.push(error.message));
      await channel.assertQueue(name);
      await channel.consume(name, (message) => {
        if (!message) return;
        seen.push(numberOf(message));
        channel.ack(message);
      });
    }
    await harness.relay.mute(5000);
    await (await outside.createChannel()).deleteQueue('fallen');
    await harness.relay.unmute();
    await until(() => told.length > 0);
    expect(told).toEqual([expect.stringContaining("NOT_FOUND - no queue 'fallen'")]);
    await publishNumbers(outside, 'standing', 1, 3);
    await until(() => seen.length === 3);
    const handoff = await handOff(harness.relay);
    await handoff.finish();
    await publishNumbers(outside, 'standing', 4, 6);
    await until(() => seen.length === 6);
    expect(told).toHaveLength(1);
  });

  describe('misses an ack for too long (consumer timeout)', () => {
    const set = (ms: number, tick: number): Promise<string> =>
      harness.broker.ctl(
        'eval',
        `[application:set_env(rabbit, K, V) || {K, V} <- [{consumer_timeout, ${ms}}, {channel_tick_interval, ${tick}}]].`,
      );
    beforeAll(() => set(1000, 300));
    afterAll(() => set(1_800_000, 60_000));

    const holding = async (queue: string) => {
      const outside = await harness.outside();
      const channel = await (await harness.app()).createChannel();
      const errors: string[] = [];
      channel.on('error', (error: Error) => errors.push(error.message));
      await channel.assertQueue(queue);
      const seen: ConsumeMessage[] = [];
      await channel.consume(queue, (message) => message && seen.push(message));
      await publishNumbers(outside, queue, 1, 1);
      await until(() => seen.length === 1);
      return { channel, errors, seen };
    };

    it('of a mute source: it is of no use to the handoff, and its app is told', async () => {
      const losses: string[] = [];
      const { errors } = await holding('late-1');
      harness.relay.onLost((why) => losses.push(why));
      await harness.relay.mute(5000);
      await until(() => losses.length > 0, 15_000, 'a loss');
      expect(losses[0]).toContain('the broker closed channel 1');
      await harness.relay.unmute();
      await until(() => errors.length > 0);
      expect(errors[0]).toContain('PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out');
      expect((await taken('late-1')).map((each) => each.fields.redelivered)).toEqual([true]);
    });

    it('of a superseded source: that is told, the delivery comes again and flagged, and its old tag settles nothing', async () => {
      const { channel, errors, seen } = await holding('late-2');
      const handoff = await handOff(harness.relay);
      expect(handoff.carried).toBe(1);
      await until(() => handoff.losses.length > 0, 15_000, 'a loss');
      expect(handoff.losses[0]).toContain('closed channel 1; 1 deliveries are handed out again');
      await until(() => seen.length > 1);
      expect(seen.map((each) => each.fields.redelivered)).toEqual([false, true]);
      channel.ack(seen[0]!);
      channel.ack(seen[1]!);
      await handoff.finish();
      await expectDrained(harness, 'late-2');
      expect(errors).toEqual([]);
    });
  });
});
