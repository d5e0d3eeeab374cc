import { describe, expect, it } from 'vitest';
import { Channel, type Consumer } from '../../../webhook/sidecar/channel.ts';
import { isFull, LOOK_MS, Load } from '../../../webhook/sidecar/replay/load.ts';
import { Session } from '../../../webhook/sidecar/session.ts';

describe('what an app holds', () => {
  const channelOf = (prefetch: number, held: number, more: Partial<Consumer> = {}): Session => {
    const session = new Session(1, 'broker:5672');
    session.phase = 'open';
    const channel = new Channel(1);
    channel.state = 'open';
    const consumer = { tag: 'c', queue: 'q', noAck: false, exclusive: false, prefetch, held, withheld: 0, ...more };
    channel.consumers.set('c', consumer as Consumer);
    session.wires.channels.set(1, channel);
    return session;
  };

  it('is all it may, when each of its consumers holds nearly as many as its prefetch', () => {
    expect(isFull([channelOf(50, 41)])).toBe(true);
    expect(isFull([channelOf(50, 30, { withheld: 11 })])).toBe(true);
    expect(isFull([channelOf(2, 1)])).toBe(false);
    expect(isFull([channelOf(50, 50), channelOf(50, 3)])).toBe(false);
    expect(isFull([])).toBe(false);
  });

  it('is not judged by a consumer that has nothing to do, on a queue of commands say', () => {
    expect(isFull([channelOf(50, 50), channelOf(50, 0)])).toBe(true);
    expect(isFull([channelOf(50, 30), channelOf(50, 0)])).toBe(false);
    expect(isFull([channelOf(50, 0)])).toBe(false);
    // Of one that settles nothing it is not known.
    expect(isFull([channelOf(50, 50), channelOf(50, 0, { noAck: true })])).toBe(false);
  });

  it('is never all, without a limit or a settlement: it has been handed what there is', () => {
    expect(isFull([channelOf(0, 1000)])).toBe(false);
    expect(isFull([channelOf(1, 1, { noAck: true })])).toBe(false);
  });

  it('counts by practically all the time, and only if it settles', () => {
    const loadOf = (count: number, full: (index: number) => boolean, each: number, idle = -1): Load => {
      const load = new Load();
      for (let index = 0; index < count; index++)
        load.look({ at: index * LOOK_MS, held: index === idle ? 0 : 1, full: full(index), delivered: index * each });
      return load;
    };
    const looks = (...[count, ...rest]: Parameters<typeof loadOf>): number | undefined =>
      loadOf(count, ...rest).saturated((count - 1) * LOOK_MS);
    expect(looks(21, () => true, 5)).toBe(100);
    expect(looks(21, (index) => index % 5 !== 0, 5)).toBe(100);
    const half = (index: number): boolean => index % 2 === 0;
    expect(looks(21, half, 5)).toBe(100);
    expect(looks(21, half, 5, 9)).toBeUndefined();
    expect(looks(21, (index) => index % 3 === 0, 5)).toBeUndefined();
    expect(looks(21, () => true, 0)).toBeUndefined();
    expect(looks(6, () => true, 5)).toBeUndefined();
    // Long ago is not now.
    expect(loadOf(21, () => true, 5).saturated(5000)).toBeUndefined();
  });

  it('is nothing since the last delivery', () => {
    const load = new Load();
    expect(load.idleMs(0)).toBe(0);
    for (const [at, delivered] of [
      [0, 7],
      [50, 8],
      [100, 8],
      [300, 8],
    ] as const)
      load.look({ at, held: 0, full: false, delivered });
    expect(load.idleMs(310)).toBe(260);
  });
});
