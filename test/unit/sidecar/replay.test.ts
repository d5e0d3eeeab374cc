/** Sessions through whole handoffs without a socket or a clock, by random schedules (invariants 1 to 4). */
import fc from 'fast-check';
import { describe, it } from 'vitest';
import { CHOICES, runSchedule, type Schedule } from './model/schedule.ts';

const how = fc.record(
  Object.fromEntries(Object.entries(CHOICES).map(([name, values]) => [name, fc.constantFrom<unknown>(...values)])),
) as fc.Arbitrary<unknown> as fc.Arbitrary<Schedule['how']>;

const schedules = fc.record({
  seed: fc.integer(),
  how,
  count: fc.integer({ min: 8, max: 48 }),
  turns: fc.integer({ min: 1, max: 3 }),
});

/** More of them: `npm run schedules`. */
const NUM_RUNS = Number(process.env.RUNS ?? 150);

describe('random schedules', () => {
  it('hand over again and again: nothing lost, nothing twice, order kept, every outcome told', () => {
    const exact = fc.property(schedules, (schedule) => runSchedule({ ...schedule, deadly: false }));
    fc.assert(exact, { numRuns: NUM_RUNS });
  }, 120_000);

  it('in which processes die: nothing lost, nothing settled twice, nothing said by who had no voice', () => {
    const deadly = fc.property(schedules, (schedule) => runSchedule({ ...schedule, deadly: true }));
    fc.assert(deadly, { numRuns: NUM_RUNS });
  }, 120_000);
});
