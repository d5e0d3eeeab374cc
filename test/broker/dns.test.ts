/** Addresses of both families, of a DNS server of the test's own. No broker. */
import dgram from 'node:dgram';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { resolve } from '../../webhook/sidecar/resolve.ts';

const A = 1;
const AAAA = 28;
const REFUSED = 5;
/** 'silent': no answer ever comes. 'refused': the server says that it won't. No entry: there is no such name. */
type Record_ = { a?: number[][] | 'refused'; aaaa?: number[][] | 'silent' };
const six = (last: number): number[] => [0xfd, ...Array<number>(14).fill(0), last];
const NAMES: Record<string, Record_> = {
  'both.test': {
    a: [
      [127, 0, 0, 1],
      [127, 0, 0, 2],
    ],
    aaaa: [six(7)],
  },
  'six.test': { aaaa: [six(8)] },
  'deaf.test': { a: [[127, 0, 0, 3]], aaaa: 'silent' },
  'refused.test': { a: 'refused' },
};

const dir = mkdtempSync(join(tmpdir(), 'shadow-dns-'));
const conf = join(dir, 'resolv.conf');
const server = dgram.createSocket('udp4');

const answer = (query: Buffer): Buffer | undefined => {
  const labels: string[] = [];
  let at = 12;
  for (let size = query[at]!; size > 0; size = query[at]!) {
    labels.push(query.toString('latin1', at + 1, at + 1 + size));
    at += 1 + size;
  }
  const end = at + 5;
  const found = NAMES[labels.join('.')];
  const type = query.readUInt16BE(at + 1);
  const records = (type === A ? found?.a : type === AAAA ? found?.aaaa : undefined) ?? [];
  if (records === 'silent') return undefined;
  const list = records === 'refused' ? [] : records;
  const head = Buffer.alloc(12);
  query.copy(head, 0, 0, 2);
  head.writeUInt16BE(0x8180 | (records === 'refused' ? REFUSED : found ? 0 : 3), 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(list.length, 6);
  const answers = list.map((address) =>
    Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, address.length, ...address]),
  );
  return Buffer.concat([head, query.subarray(12, end), ...answers]);
};

beforeAll(async () => {
  server.on('message', (query, from) => {
    const told = answer(query);
    if (told) server.send(told, from.port, from.address);
  });
  await new Promise<void>((done) => server.bind(0, '127.0.0.1', done));
  writeFileSync(conf, `nameserver 127.0.0.1:${server.address().port}\nsearch test\noptions ndots:2\n`);
});
afterAll(() => {
  server.close();
  rmSync(dir, { recursive: true });
});

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
