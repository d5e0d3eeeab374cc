import { expect, test } from 'vitest';
import { argumentsFor, intervalsOf, queuesOf, tellsInterval } from '../../../scripts/bench/perftest.ts';
import { ROWS, type Row } from '../../../scripts/bench/rows.ts';

const row = (name: string): Row => ROWS.find((each) => each.name === name)!;
const call = (name: string) => ({
  classPath: '/jars/*',
  host: '127.0.0.2',
  port: 5672,
  row: row(name),
  seconds: 8,
  queues: 'q',
  csv: '/tmp/figures.csv',
});
const after = (args: string[], option: string): string | undefined => args[args.indexOf(option) + 1];

test('a load is told to PerfTest as it is', () => {
  const args = argumentsFor(call('connections-100'));
  const told = ['--producers', '--consumers', '--size', '--confirm', '--qos', '--queue-pattern-to', '--uri'];
  const values = ['50', '50', '1024', '10', '10', '10', 'amqp://guest:guest@127.0.0.2:5672'];
  expect(told.map((option) => after(args, option))).toEqual(values);
  expect(args).not.toContain('--rate');
  const paced = argumentsFor(call('latency-20'));
  expect([after(paced, '--rate'), after(paced, '--qos')]).toEqual(['20', '1']);
});

test('it runs for two intervals at least, on queues that a pod may have and that are known by name', () => {
  const args = argumentsFor(call('throughput-1k'));
  expect(Number(after(args, '--time'))).toBeGreaterThan(2 * Number(after(args, '--interval')));
  expect(after(args, '--auto-delete')).toBe('false');
  expect(queuesOf(call('connections-100'))).toEqual(Array.from({ length: 10 }, (_, index) => `q-${index + 1}`));
});

const HEAD = [
  'id,time (s),published (msg/s),returned (msg/s),confirmed (msg/s),nacked (msg/s),received (msg/s)',
  'min consumer latency (µs),median consumer latency (µs),75th p. consumer latency (µs)',
  '95th p. consumer latency (µs),99th p. consumer latency (µs)',
  'min confirm latency (µs),median confirm latency (µs),75th p. confirm latency (µs)',
  '95th p. confirm latency (µs),99th p. confirm latency (µs)',
].join(',');

test("the figures are the consumer's, each from its own column", () => {
  const csv = `${HEAD}\nt,8.001,1000,,1001,0,999,1,2,3,4,5,6,7,8,9,10\nt,16.002,2000,,2001,0,1999,11,12,13,14,15,16,17,18,19,20\n`;
  expect(intervalsOf(csv)).toEqual([
    { until: 8.001, published: 1000, received: 999, latency: { median: 2, p95: 4, p99: 5 } },
    { until: 16.002, published: 2000, received: 1999, latency: { median: 12, p95: 14, p99: 15 } },
  ]);
});

test('milliseconds, a missing column and a missing figure are refused', () => {
  expect(() => intervalsOf(HEAD.replaceAll('µs', 'ms'))).toThrow('median');
  expect(() => intervalsOf(HEAD.replace(',received (msg/s)', ''))).toThrow('received');
  expect(() => intervalsOf(`${HEAD}\nt,8.001,1000,,1001,0,999,1,,3,4,5,6,7,8,9,10`)).toThrow('median');
  expect(() => intervalsOf('')).toThrow('until');
});

test('an interval that is over is told from all else that is said', () => {
  expect(tellsInterval('id: t, time 8.001 s, sent: 1000 msg/s, received: 999 msg/s, min/median … 1/2/3/4/5 µs')).toBe(
    true,
  );
  expect(tellsInterval('id: t, time: 8.001s, sent: 1000 msg/s, received: 999 msg/s')).toBe(true);
  expect(tellsInterval('id: t, starting consumer #0')).toBe(false);
  expect(tellsInterval('id: t, receiving rate avg: 999 msg/s')).toBe(false);
  expect(tellsInterval('test stopped (Reached time limit)')).toBe(false);
});
