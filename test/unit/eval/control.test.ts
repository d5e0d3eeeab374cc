import { expect, test } from 'vitest';
import { controlOf, controlQueue } from '../../../scripts/eval/apps/ms2m-consumer/control.ts';

const of = (message: unknown) => controlOf(JSON.stringify(message), 'app.events');

test('START_REPLAY names the replay queue, or the primary one it belongs to, or none', () => {
  const start = { type: 'START_REPLAY', queue: 'app.events.ms2m-replay' };
  for (const payload of [{ queue: 'app.events.ms2m-replay' }, { queue: 'app.events' }, { queue: '' }, {}, null])
    expect(of({ type: 'START_REPLAY', payload })).toEqual(start);
  expect(of({ type: 'START_REPLAY' })).toEqual(start);
  expect(of({ type: 'START_REPLAY', payload: { queue: 'other.ms2m-replay' } })).toEqual({
    type: 'START_REPLAY',
    queue: 'other.ms2m-replay',
  });
});

test('END_REPLAY needs no payload', () => {
  expect(of({ type: 'END_REPLAY' })).toEqual({ type: 'END_REPLAY' });
  expect(of({ type: 'END_REPLAY', payload: { queue: 'app.events' } })).toEqual({ type: 'END_REPLAY' });
});

test('anything else turns nothing', () => {
  for (const message of [{}, { type: 'STOP' }, null, 7, 'START_REPLAY', []]) expect(of(message)).toBeUndefined();
  expect(controlOf('{', 'app.events')).toBeUndefined();
});

test('the queue is that of the pod', () => {
  expect(controlQueue('consumer-0-shadow')).toBe('ms2m.control.consumer-0-shadow');
});
