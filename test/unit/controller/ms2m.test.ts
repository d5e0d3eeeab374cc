/** The order of a handoff without the sidecar, and what identifies a message. Everything else needs a broker: test/broker. */
import { describe, expect, it } from 'vitest';
import { digestOf } from '../../../webhook/controller/ms2m/broker.ts';
import {
  beforeStopping,
  FORK,
  following,
  forward,
  isCommitted,
  type Ms2mStep,
  type Progress,
  type TakeOver,
  undoing,
} from '../../../webhook/controller/ms2m/plan.ts';

const TAKE_OVERS: readonly TakeOver[] = ['Cutoff', 'ExchangeFence'];

const pathFrom = (first: Progress | undefined, takeOver: TakeOver): Ms2mStep[] => {
  const path: Ms2mStep[] = [];
  for (let at = first; at !== undefined && path.length < 50; at = following(at, takeOver)) path.push(at.step);
  return path;
};

describe.each(TAKE_OVERS)('the plan of %s', (takeOver) => {
  it('begins with what the checkpoint needs, and ends with nothing left', () => {
    const path = pathFrom({ step: 'Binding' }, takeOver);
    expect(path).toEqual([...forward(takeOver)]);
    expect(path.slice(0, FORK.length)).toEqual([...FORK]);
    expect(path.slice(-2)).toEqual(['Arriving', 'Dismantling']);
  });

  it('is undone to the end from each step before the source is stopped, and from none after', () => {
    const path = forward(takeOver);
    for (const step of path) {
      const back = undoing({ step }, takeOver);
      expect(back === undefined, step).toBe(path.indexOf(step) >= path.indexOf('Stopping'));
      expect(isCommitted(step, takeOver)).toBe(back === undefined);
      if (back !== undefined) expect(pathFrom(back, takeOver).slice(-2)).toEqual(['Arriving', 'Dismantling']);
    }
  });

  it('is decided right before the source is stopped', () => {
    const path = forward(takeOver);
    expect(path[path.indexOf('Stopping') - 1]).toBe(beforeStopping(takeOver));
  });

  it('goes on undoing what is being undone, wherever that is', () => {
    expect(undoing({ step: 'Emptying', undoing: true }, takeOver)).toEqual({ step: 'Emptying', undoing: true });
    expect(following({ step: 'Emptying', undoing: true }, takeOver)).toEqual({ step: 'Checking', undoing: true });
  });
});

it('a fence that may be up is never left up: what waits behind it is worked off first', () => {
  for (const step of ['Raising', 'Draining', 'Standing'] as const)
    expect(pathFrom(undoing({ step }, 'ExchangeFence'), 'ExchangeFence')).toEqual([
      ...['Raising', 'Finishing', 'Resting', 'Lowering', 'Emptying', 'Checking', 'Arriving', 'Dismantling'],
    ]);
});

describe('a message', () => {
  const message = (properties: object, content = 'a', routingKey = 'k') => ({
    fields: { routingKey },
    properties,
    content: Buffer.from(content),
  });
  const digest = (...given: Parameters<typeof message>) => digestOf(message(...given));

  it('is the same however often it was handed out, and in whatever order its headers are', () => {
    expect(digest({ headers: { a: 1, b: 2, 'x-delivery-count': 3 } })).toBe(digest({ headers: { b: 2, a: 1 } }));
    expect(digest({ headers: { a: Buffer.from('x') } })).toBe(digest({ headers: { a: Buffer.from('x') } }));
  });

  it('is another one with another id, key, header or content', () => {
    const all = [
      digest({ messageId: '1' }),
      digest({ messageId: '2' }),
      digest({ messageId: '1' }, 'b'),
      digest({ messageId: '1' }, 'a', 'l'),
      digest({ messageId: '1', headers: { a: 1 } }),
      digest({ messageId: '1', headers: { a: '1' } }),
    ];
    expect(new Set(all).size).toBe(all.length);
  });
});
