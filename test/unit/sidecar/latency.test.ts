import { expect, it } from 'vitest';
import { Latency } from '../../../webhook/sidecar/latency.ts';
import { createSidecarRegistry } from '../../../webhook/sidecar/metrics.ts';

/** A socket with so much waiting; `flush` says that it is gone. */
const socket = (writableLength: number) => {
  const waiting: (() => void)[] = [];
  const write = (_bytes: unknown, done?: unknown): boolean => {
    if (typeof done === 'function') waiting.push(done as () => void);
    return true;
  };
  const flush = (): void => {
    for (const done of waiting.splice(0)) done();
  };
  return { writableLength, writable: true, write, flush };
};

it('times one chunk of 64, and until the last byte of it has left', () => {
  const latency = new Latency();
  const timed = Array.from({ length: 640 }, () => latency.begin()).filter((began) => began > 0);
  expect(timed).toHaveLength(10);
  latency.end(performance.now(), socket(0));
  expect(latency.count).toBe(1);
  const slow = socket(5);
  latency.end(performance.now() - 40, slow);
  expect(latency.count).toBe(1);
  slow.flush();
  expect(latency.count).toBe(2);
  expect(latency.sum).toBeGreaterThanOrEqual(0.04);
  // Up to 0.1 s.
  expect(latency.counts[11]).toBe(1);
});

it('shows all that is promised to Prometheus, under these names', async () => {
  const registry = createSidecarRegistry({
    state: () => 'recording',
    report: () => ({
      connections: [
        { id: 1, broker: 'b:5672', vhost: '/', channels: [{ channel: 1, consumers: [], unsettled: 3, confirm: true }] },
      ],
      hazards: [],
      delivered: 9,
      published: 8,
    }),
    reattached: () => ({ severed: 0, hidden: 2, givenUp: 1 }),
    outstanding: () => ({ carried: 4, settling: 5 }),
    replay: () =>
      ({
        swallowed: 6,
        play: { received: 1, played: 7, matched: 2, waiting: 1, diverged: 3, lag: 10, attached: true, divergence: 'x' },
        record: { entries: 11, bytes: 12, throttle: 0.5 },
      }) as never,
  });
  const text = await registry.metrics();
  for (const line of [
    'connections 1',
    'channels 1',
    'unsettled 3',
    'carried_outstanding 4',
    'settling_outstanding 5',
    'delivered_total 9',
    'published_total 8',
    'record_entries 11',
    'record_bytes 12',
    'record_throttle 0.5',
    'play_lag 10',
    'play_played 7',
    'play_matched 2',
    'play_swallowed 6',
    'play_waiting 1',
    'play_diverged 3',
    'losses_hidden_total 2',
    'state{state="recording"} 1',
  ])
    expect(text.split('\n')).toContain(`shadow_sidecar_${line}`);
  expect(text).toContain('# TYPE shadow_sidecar_added_latency_seconds histogram');
  expect(text).toMatch(/shadow_sidecar_added_latency_seconds_bucket\{le="0.0001",to="app"\} \d+/);
  expect(text).toMatch(/shadow_sidecar_added_latency_seconds_bucket\{le="\+Inf",to="broker"\} \d+/);
  expect(text).toMatch(/shadow_sidecar_added_latency_seconds_count\{to="app"\} \d+/);
});
