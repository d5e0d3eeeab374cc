import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { KeyedQueue } from '../../../webhook/controller/queue.ts';
import { type Meta, Reflector, type Source } from '../../../webhook/controller/reflector.ts';
import type { WatchEvent } from '../../../webhook/controller/rest.ts';

const object = (name: string, resourceVersion: number): Meta => ({
  metadata: { namespace: 'n', name, resourceVersion: `${resourceVersion}` },
});

/** A scripted API: each list and each watch is one entry; the last watch stays open. */
const scripted = (lists: { items: Meta[]; resourceVersion: string }[], watches: (WatchEvent[] | Error)[]) => {
  const asked: string[] = [];
  const source: Source<Meta> = {
    list: async () => {
      asked.push('list');
      const next = lists.length > 1 ? lists.shift() : lists[0];
      if (next === undefined) throw new Error('no list');
      return next;
    },
    watch: async (resourceVersion, onEvent, signal) => {
      asked.push(`watch ${resourceVersion}`);
      const events = watches.shift();
      if (events === undefined) {
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        return;
      }
      if (events instanceof Error) throw events;
      for (const event of events) onEvent(event);
    },
  };
  return { source, asked };
};

const started = async (script: ReturnType<typeof scripted>) => {
  const seen: string[] = [];
  const errors: unknown[] = [];
  const reflector = new Reflector(
    script.source,
    ({ metadata }) => seen.push(`${metadata?.name}@${metadata?.resourceVersion}`),
    () => sleep(1),
  );
  await reflector.start((error) => errors.push(error));
  await sleep(30);
  reflector.stop();
  return { reflector, seen, errors };
};

describe('the reflector', () => {
  it('goes on from the last resourceVersion when the server ends the watch, bookmarks included', async () => {
    const script = scripted(
      [{ items: [object('a', 1)], resourceVersion: '5' }],
      [[{ type: 'ADDED', object: object('b', 6) }], [{ type: 'BOOKMARK', object: object('', 9) }]],
    );
    const { reflector } = await started(script);
    expect(script.asked).toEqual(['list', 'watch 5', 'watch 6', 'watch 9']);
    expect(reflector.all().map(({ metadata }) => metadata?.name)).toEqual(['a', 'b']);
  });

  it('relists after 410 and after any failure, and tells of what vanished meanwhile', async () => {
    const gone: WatchEvent = { type: 'ERROR', object: { code: 410, message: 'too old' } };
    const script = scripted(
      [
        { items: [object('a', 1), object('b', 2)], resourceVersion: '5' },
        { items: [object('a', 7)], resourceVersion: '8' },
        { items: [object('a', 7)], resourceVersion: '9' },
      ],
      [[gone], new Error('connection reset')],
    );
    const { reflector, seen, errors } = await started(script);
    expect(script.asked).toEqual(['list', 'watch 5', 'list', 'watch 8', 'list', 'watch 9']);
    expect(seen).toEqual(['a@1', 'b@2', 'b@2', 'a@7']);
    expect(reflector.get('n', 'b')).toBeUndefined();
    // 410 is how watches end; the other one is worth a line
    expect(errors).toHaveLength(1);
  });

  it('never goes back: an event older than what a write of ours returned is passed over', async () => {
    const script = scripted([{ items: [object('a', 1)], resourceVersion: '5' }], []);
    const reflector = new Reflector(script.source, () => {});
    await reflector.start(() => {});
    reflector.learn(object('a', 20));
    reflector.learn(object('a', 12));
    expect(reflector.get('n', 'a')?.metadata?.resourceVersion).toBe('20');
    reflector.stop();
  });
});

describe('the queue', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('runs one key once at a time, and once more for whatever came meanwhile', async () => {
    let running = 0;
    const runs: string[] = [];
    const queue = new KeyedQueue(async (key) => {
      expect(++running).toBe(1);
      runs.push(key);
      await new Promise((resolve) => setTimeout(resolve, 10));
      running--;
      return undefined;
    });
    queue.add('k');
    await vi.advanceTimersByTimeAsync(5);
    for (let i = 0; i < 5; i++) queue.add('k');
    await vi.advanceTimersByTimeAsync(100);
    expect(runs).toEqual(['k', 'k']);
  });

  it('lets an event overtake a wait, and backs off a key that fails without holding up others', async () => {
    const runs: string[] = [];
    const queue = new KeyedQueue(async (key) => {
      runs.push(key);
      if (key === 'bad') throw new Error('again');
      return key === 'slow' ? 10_000 : undefined;
    });
    const count = (key: string) => runs.filter((one) => one === key).length;
    queue.add('slow');
    queue.add('bad');
    await vi.advanceTimersByTimeAsync(20);
    queue.add('slow');
    await vi.advanceTimersByTimeAsync(20);
    expect([count('slow'), count('bad')]).toEqual([2, 1]);
    // 50, 100, 200, 400 … ms
    await vi.advanceTimersByTimeAsync(800);
    expect([count('slow'), count('bad')]).toEqual([2, 5]);
    queue.stop();
  });
});
