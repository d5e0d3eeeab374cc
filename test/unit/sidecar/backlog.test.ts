import { expect, it } from 'vitest';
import { Backlog } from '../../../webhook/sidecar/backlog.ts';

const MIB = 1 << 20;

it('is one for all connections: who has much waits, who has little goes on', () => {
  const slow = [new Backlog(), new Backlog(), new Backlog()];
  const quick = new Backlog();
  for (const each of slow) each.is(21 * MIB);
  expect(slow.some(({ full }) => full)).toBe(false);
  for (const each of slow) each.is(22 * MIB);
  quick.is(MIB);
  expect(slow.every(({ full }) => full)).toBe(true);
  expect(quick.full).toBe(false);
  // One of them is gone, or has read.
  slow[0]!.is(0);
  expect(slow.some(({ full }) => full)).toBe(false);
  for (const each of [...slow, quick]) each.is(0);
});
