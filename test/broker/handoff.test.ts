import { describe, expect, it } from 'vitest';
import { handOff } from './support/clone.ts';
import {
  type ConsumeMessage,
  expectDrained,
  publishNumbers,
  range,
  sleep,
  until,
  useBroker,
} from './support/harness.ts';

const harness = useBroker();
const numberOf = (message: ConsumeMessage): number => Number(message.content.toString());

describe('a handoff', () => {
  it('carries unsettled deliveries: each applied once, in order, prefetch kept', async () => {
    const outside = await harness.outside();
    const client = await harness.app();
    const channel = await client.createChannel();
    await channel.assertQueue('work');
    await channel.prefetch(5);
    const seen: number[] = [];
    let held = 0;
    let most = 0;
    await channel.consume('work', async (message) => {
      if (!message) return;
      held += 1;
      most = Math.max(most, held);
      seen.push(numberOf(message));
      await sleep(4);
      held -= 1;
      channel.ack(message);
    });
    await publishNumbers(outside, 'work', 1, 200);
    await until(() => seen.length > 20);
    const first = await handOff(harness.relay, { pauseMs: 50 });
    expect(first.carried).toBeGreaterThan(0);
    await publishNumbers(outside, 'work', 201, 400);
    await until(() => seen.length > 150);
    await first.finish();
    const second = await handOff(harness.relay);
    await until(() => seen.length >= 400);
    await second.finish();
    expect(seen).toEqual(range(1, 400));
    expect(most).toBeLessThanOrEqual(5);
    expect([...first.losses, ...second.losses]).toEqual([]);
    await expectDrained(harness, 'work');
  });
});
