/**
 * Deliveries under way inside a quorum queue when its consumer is cancelled: RabbitMQ returns them to the queue's back, or
 * keeps them checked out until the channel closes. The mute's wait makes that rare; here every cancel is made to hit some.
 * None may be lost or come twice, on whichever path (invariants 1 and 2). Their order the broker has given away itself.
 */
import { describe, expect, it } from 'vitest';
import { type Relay, SessionRelay } from '../../webhook/sidecar/relay.ts';
import { handOff } from './support/clone.ts';
import {
  type ConsumeMessage,
  expectDrainedIn,
  publishNumbers,
  range,
  sleep,
  until,
  useBroker,
} from './support/harness.ts';

const harness = useBroker();
const QUORUM = { 'x-queue-type': 'quorum' };
/** At least so many turns; more, until what the test is about has happened: the broker's timing is not ours. */
const TURNS = 8;
const MOST_TURNS = 500;

/** Mutes without waiting until nothing is under way. */
const hasty = (relay: Relay): Relay => {
  const mute = relay.mute.bind(relay);
  relay.mute = (timeoutMs) => {
    const muting = mute(timeoutMs);
    if (relay instanceof SessionRelay)
      for (const connection of relay.connections) connection.guard(() => connection.session.quiet());
    return muting;
  };
  return relay;
};

/** An app that settles each message, some ms late, and a queue that is never empty nor full for long. */
const underLoad = async (queue: string, prefetch: number, vhost = '/', args: object = QUORUM) => {
  const [outside, client] = await Promise.all(
    [harness.outside, harness.app].map((open) => open(encodeURIComponent(vhost))),
  );
  const channel = await client!.createChannel();
  await channel.assertQueue(queue, { arguments: args });
  await channel.prefetch(prefetch);
  const seen: number[] = [];
  const stuck: number[] = [];
  let held = 0;
  let most = 0;
  await channel.consume(queue, (message: ConsumeMessage | null) => {
    if (!message) return;
    held += 1;
    most = Math.max(most, held);
    const number = Number(message.content.toString());
    seen.push(number);
    if (message.fields.redelivered) stuck.push(number);
    void sleep(number % 5).then(() => {
      held -= 1;
      channel.ack(message);
    });
  });
  let total = 0;
  let enough = false;
  const feeding = (async () => {
    for (; !enough; total += 10) {
      await publishNumbers(outside!, queue, total + 1, total + 10);
      await sleep(3);
    }
  })();
  return {
    seen,
    stuck,
    /** Under load all the time. */
    async turns(done: () => boolean, turn: (number: number) => Promise<void>): Promise<void> {
      for (let number = 0; number < TURNS || (!done() && number < MOST_TURNS); number++) await turn(number);
      expect(done()).toBe(true);
    },
    async check(): Promise<void> {
      enough = true;
      await feeding;
      await until(() => seen.length >= total);
      await sleep(50);
      expect([...seen].sort((a, b) => a - b)).toEqual(range(1, total));
      expect(most).toBeLessThanOrEqual(prefetch);
      await expectDrainedIn(harness, vhost, [queue]);
    },
  };
};

it('is what a virtual host makes by default only of queues that can be one', async () => {
  const { broker } = harness;
  await broker.ctl('add_vhost', 'quorate', '--default-queue-type', 'quorum');
  await broker.ctl('set_permissions', '-p', 'quorate', 'guest', '.*', '.*', '.*');
  const channel = await (await harness.outside('quorate')).createChannel();
  await channel.assertQueue('lasting');
  await channel.assertQueue('brief', { durable: false });
  await channel.assertQueue('own', { exclusive: true });
  await channel.assertQueue('leaving', { autoDelete: true });
  const types = await broker.ctl('list_queues', '-p', 'quorate', 'name', 'type', '--no-table-headers');
  expect(types.trim().split('\n').sort()).toEqual([
    'brief\tclassic',
    'lasting\tquorum',
    'leaving\tclassic',
    'own\tclassic',
  ]);
});

describe('deliveries stuck at a cancel', () => {
  it('are neither lost nor doubled over handoffs', async () => {
    const app = await underLoad('stuck-handoff', 20);
    const relay = hasty(harness.relay);
    await app.turns(
      () => app.stuck.length > 0,
      async () => {
        await sleep(60);
        const handoff = await handOff(relay, { latencyMs: 3 });
        await handoff.finish();
        expect(handoff.losses).toEqual([]);
      },
    );
    await app.check();
  });

  /** Of the second the app has not said that it is a quorum queue, and AMQP does not tell. */
  it.each([
    ['declared as such', '/', QUORUM],
    ['by the default of its virtual host', 'quorate', {}],
  ])('are neither lost nor doubled over un-mutes, of a quorum queue %s', async (_which, vhost, args) => {
    const app = await underLoad('stuck-abort', 20, vhost, args);
    const relay = hasty(harness.relay);
    await app.turns(
      () => app.stuck.length > 0,
      async () => {
        await sleep(60);
        await relay.mute(5000);
        await relay.unmute();
        // Its carried deliveries are settled within the process, and then the old connection is closed.
        await until(() => relay.carriedOutstanding() + relay.outstanding() === 0 && relay.consuming());
      },
    );
    await app.check();
  });

  it('are neither lost nor doubled when mutes fail half-way', async () => {
    const app = await underLoad('stuck-timeout', 20);
    const relay = hasty(harness.relay);
    let failed = 0;
    await app.turns(
      () => failed > 2,
      async (turn) => {
        await sleep(20);
        await relay.mute(turn % 10).then(
          () => relay.unmute(),
          () => {
            failed += 1;
          },
        );
      },
    );
    await app.check();
  });
});
