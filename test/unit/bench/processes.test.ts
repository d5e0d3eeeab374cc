import { cpus } from 'node:os';
import { expect, test } from 'vitest';
import { busyShare, costOf, cpuSecondsOf, residentOf, start } from '../../../scripts/bench/processes.ts';
import { middleOf } from '../../../scripts/bench/sample.ts';

test('CPU time is user and system, whatever the program is called', () => {
  const stat = '77 (a) R 1 (b)) S 1 77 77 0 -1 4194304 100 0 0 0 150 25 3 4 20 0 11 0 500 1000 2000';
  expect(cpuSecondsOf(stat)).toBe(1.75);
  expect(() => cpuSecondsOf('')).toThrow('stat');
});

test('resident memory is in bytes', () => {
  expect(residentOf('Name:\tnode\nVmPeak:\t  999 kB\nVmRSS:\t   48 kB\nThreads:\t11\n')).toBe(48 * 1024);
  expect(() => residentOf('Name:\tkthreadd\n')).toThrow('VmRSS');
});

test('our own cost grows by the CPU time we take, however busy the machine is', () => {
  const seconds = (): number => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  };
  const before = costOf(process.pid);
  const from = seconds();
  while (seconds() - from < 0.2);
  const after = costOf(process.pid);
  // A tick of the kernel's clock at either end.
  expect(after.cpuSeconds - before.cpuSeconds).toBeGreaterThanOrEqual(0.17);
  expect(after.cpuSeconds - before.cpuSeconds).toBeLessThan(0.6);
  expect(after.rss).toBeGreaterThan(1 << 20);
});

test('a machine is busy by as much as one that spins on it', async () => {
  const spinning = start([process.execPath, '-e', 'for (;;);']);
  try {
    await expect.poll(() => costOf(spinning.pid).cpuSeconds).toBeGreaterThan(0.1);
    const share = await busyShare(500);
    expect(share).toBeGreaterThan(0.5 / cpus().length);
    expect(share).toBeLessThanOrEqual(1);
  } finally {
    await spinning.stop();
  }
});

test('cost a message counts what was published and delivered once, in the window and not beside it', () => {
  const begin = { at: 1000, cpuSeconds: 5, rss: 1 };
  const end = { at: 11_000, cpuSeconds: 9, rss: 2 };
  const middle = middleOf({ begin, end, published: 21_000, received: 19_000 });
  // 4 s of CPU in 10 s, for 200,000 messages.
  expect(middle).toEqual({ cpuPerMillion: 20, busy: 0.4, rss: 2 });
});

test('a program is told of line by line, and stopped', async () => {
  const lines: string[] = [];
  const running = start(['sh', '-c', 'printf "one\\ntw"; printf "o\\n"; echo no >&2; exec sleep 60'], {
    onLine: (line) => lines.push(line),
  });
  await expect.poll(() => lines).toEqual(['one', 'two']);
  await running.stop();
  expect(running.child.signalCode).toBe('SIGTERM');
  expect(running.said()).toContain('no');
});

test('one that does not exist has ended', async () => {
  const running = start(['/nowhere/program']);
  expect(await running.ended).toBeNull();
  expect(running.said()).toContain('ENOENT');
});
