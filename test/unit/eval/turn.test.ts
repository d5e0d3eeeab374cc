import { expect, test } from 'vitest';
import { controlQueue, turnOf } from '../../../manifests/examples/ms2m/app.ts';

const of = (message: unknown) => turnOf(JSON.stringify(message), 'app.events');

test('START_REPLAY names any queue, to the letter', () => {
  for (const queue of ['app.events.ms2m-replay', 'app.events.ms2m-park', 'app.events'])
    expect(of({ type: 'START_REPLAY', payload: { queue } })).toBe(queue);
});

test('END_REPLAY is its own, and needs no payload', () => {
  expect(of({ type: 'END_REPLAY' })).toBe('app.events');
  expect(of({ type: 'END_REPLAY', payload: { queue: 'other' } })).toBe('app.events');
});

test('anything else turns nothing', () => {
  for (const message of [{}, { type: 'STOP' }, null, 7, 'START_REPLAY', [], { type: 'START_REPLAY', payload: {} }])
    expect(of(message)).toBeUndefined();
  expect(of({ type: 'START_REPLAY', payload: { queue: '' } })).toBeUndefined();
  expect(turnOf('{', 'app.events')).toBeUndefined();
});

test('the queue is that of the pod', () => {
  expect(controlQueue('consumer-0-shadow')).toBe('ms2m.control.consumer-0-shadow');
});
