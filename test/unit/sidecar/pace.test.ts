import { expect, test } from 'vitest';
import { Pace } from '../../../webhook/sidecar/replay/pace.ts';

/** Samples every 40 ms from 0 on. */
const paced = (untilMs: number, made: (at: number) => number): Pace => {
  const pace = new Pace();
  for (let at = 0; at <= untilMs; at += 40) pace.note(at, made(at));
  return pace;
};

test('what is handed out at once is no pace: by it a source would fall mute while its copy has all to do yet', () => {
  for (const untilMs of [0, 40, 120, 280]) expect(paced(untilMs, (at) => (at === 0 ? 0 : 20)).rate).toBe(0);
});

test('it is what was made a second, of the last second', () => {
  expect(paced(320, (at) => at / 10).rate).toBeCloseTo(100);
  // Fast until 2 s, slow since: of the fast time nothing is left after another second.
  expect(paced(3200, (at) => (at < 2000 ? at : 2000 + (at - 2000) / 20)).rate).toBeCloseTo(50);
});
