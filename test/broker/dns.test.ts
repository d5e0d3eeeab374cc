/** Addresses of both families. No broker. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { resolve } from '../../webhook/sidecar/resolve.ts';
import { type Dns, startDns } from './support/dns.ts';

const six = (last: number): number[] => [0xfd, ...Array<number>(14).fill(0), last];
const four = (last: number): number[] => [127, 0, 0, last];
let dns: Dns;
let conf: string;

beforeAll(async () => {
  dns = await startDns({
    'both.test': { a: [four(1), four(2)], aaaa: [six(7)] },
    'six.test': { aaaa: [six(8)] },
    'deaf.test': { a: [four(3)], aaaa: 'silent' },
    'refused.test': { a: 'refused' },
  });
  conf = dns.conf;
});
afterAll(() => dns.stop());

it('IPv4 comes first, and IPv6 is not forgotten for it: one of them may lead nowhere', async () => {
  expect(await resolve('both', conf)).toEqual(['127.0.0.1', '127.0.0.2', 'fd00::7']);
  expect(await resolve('six', conf)).toEqual(['fd00::8']);
});

it('a server that never answers for IPv6 costs no second', async () => {
  const from = performance.now();
  expect(await resolve('deaf', conf)).toEqual(['127.0.0.3']);
  expect(performance.now() - from).toBeLessThan(500);
});

it('no such name, and that nobody could be asked, are told apart', async () => {
  const failure = (name: string): Promise<unknown> =>
    resolve(name, conf).then(
      () => undefined,
      (error: unknown) => (error as Error).cause,
    );
  expect(await failure('nobody')).toBeUndefined();
  expect(await failure('refused')).toMatchObject({ code: 'EREFUSED' });
  await expect(resolve('nobody', conf)).rejects.toThrow('cannot resolve nobody');
});
