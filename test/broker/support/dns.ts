/** A DNS server of the test's own, and a resolv.conf that names it. */
import dgram from 'node:dgram';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const A = 1;
const AAAA = 28;
const REFUSED = 5;
/** Bytes of addresses. 'silent': no answer ever comes. 'refused': the server says that it won't. */
type Addresses = readonly (readonly number[])[] | 'silent' | 'refused';
/** By full name; no entry: there is no such name. */
export type Names = Readonly<Record<string, { a?: Addresses; aaaa?: Addresses }>>;

const answer = (names: Names, query: Buffer): Buffer | undefined => {
  const labels: string[] = [];
  let at = 12;
  for (let size = query[at]!; size > 0; size = query[at]!) {
    labels.push(query.toString('latin1', at + 1, at + 1 + size));
    at += 1 + size;
  }
  const end = at + 5;
  const found = names[labels.join('.')];
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

export interface Dns {
  /** Path of a resolv.conf with `search test`. */
  readonly conf: string;
  stop(): void;
}

export const startDns = async (names: Names): Promise<Dns> => {
  const dir = mkdtempSync(join(tmpdir(), 'shadow-dns-'));
  const server = dgram.createSocket('udp4');
  server.on('message', (query, from) => {
    const told = answer(names, query);
    if (told) server.send(told, from.port, from.address);
  });
  await new Promise<void>((done) => server.bind(0, '127.0.0.1', done));
  const conf = join(dir, 'resolv.conf');
  writeFileSync(conf, `nameserver 127.0.0.1:${server.address().port}\nsearch test\noptions ndots:2\n`);
  return {
    conf,
    stop: () => {
      server.close();
      rmSync(dir, { recursive: true });
    },
  };
};
