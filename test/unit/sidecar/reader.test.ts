import { once } from 'node:events';
import net from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Reader } from '../../../webhook/sidecar/reader.ts';

let server: net.Server;
let peer: net.Socket;
let accepted: Promise<unknown[]>;
const opened: net.Socket[] = [];

beforeEach(async () => {
  server = net.createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  accepted = once(server, 'connection');
});
afterEach(() => {
  for (const socket of opened.splice(0)) socket.destroy();
  server.close();
});

const connect = async (): Promise<Reader> => {
  const reader = new Reader();
  const { port } = server.address() as net.AddressInfo;
  reader.connect({ host: '127.0.0.1', port });
  await once(reader, 'connect');
  [peer] = (await accepted) as [net.Socket];
  peer.resume();
  opened.push(reader, peer);
  return reader;
};

/** One 'data' for each thing said: the next is said when the last has come. */
const say = async (reader: net.Socket, text: string): Promise<void> => {
  const came = once(reader, 'data');
  peer.write(text);
  await came;
};

test.each([true, false])(
  'what is lent (%s) stays as it was read, and else the next read is in its place',
  async (lent) => {
    const reader = await connect();
    reader.lends = () => lent;
    const chunks: Buffer[] = [];
    reader.on('data', (chunk: Buffer) => chunks.push(chunk));
    const words = Array.from({ length: 40 }, (_, index) => `word ${index}`.padEnd(1024, '.'));
    for (const word of words) await say(reader, word);
    expect(chunks).toHaveLength(words.length);
    if (lent) expect(chunks.map(String)).toEqual(words);
    else expect(new Set(chunks.map(({ buffer, byteOffset }) => [buffer, byteOffset].join()))).toHaveLength(1);
    if (!lent) expect(chunks.map(String)).toEqual(words.map(() => words.at(-1)));
  },
);

test('what was lent and is back is read over, but not what was abandoned meanwhile', async () => {
  const reader = await connect();
  let lent = true;
  reader.lends = () => lent;
  const chunks: Buffer[] = [];
  reader.on('data', (chunk: Buffer) => chunks.push(chunk));
  for (const word of ['one', 'two']) await say(reader, word);
  reader.abandon();
  lent = false;
  for (const word of ['six', 'ten']) await say(reader, word);
  for (let count = 0; count < 5; count += 1) await say(reader, 'abc');
  expect(chunks.slice(0, 3).map(String)).toEqual(['one', 'two', 'six']);
  expect(String(chunks[4])).toBe('abc');
  expect(String(chunks.at(-2))).toBe('abc');
});

test('a long stream comes whole and in order, with pauses, and into larger memory', async () => {
  const reader = await connect();
  let lent = false;
  reader.lends = () => lent;
  const bytes = Buffer.alloc(8 << 20);
  for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32BE(at, at);
  const parts: Buffer[] = [];
  let largest = 0;
  reader.on('data', (chunk: Buffer) => {
    largest = Math.max(largest, chunk.length);
    lent = parts.length % 3 === 0;
    // Only what is lent may be kept as it is.
    parts.push(lent ? chunk : Buffer.from(chunk));
    if (parts.length % 5 === 0) {
      reader.pause();
      setImmediate(() => reader.resume());
    }
    // From here on it stays lent, or what is kept above would be read over.
    if (lent) reader.abandon();
  });
  peer.end(bytes);
  await once(reader, 'end');
  expect(Buffer.concat(parts).equals(bytes)).toBe(true);
  expect(largest).toBeGreaterThan(16 << 10);
});

test('what comes before anybody listens waits for them', async () => {
  const reader = await connect();
  peer.write('early');
  while (reader.readableLength === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  const chunks: Buffer[] = [];
  reader.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(reader, 'data');
  await say(reader, 'late');
  expect(chunks.map(String)).toEqual(['early', 'late']);
});

test('an accepted connection is taken over as it is: bytes, ends, and the server forgets it', async () => {
  const { port } = server.address() as net.AddressInfo;
  const client = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const [plain] = (await accepted) as [net.Socket];
  opened.push(client);
  client.write('hello');
  const reader = Reader.over(plain);
  expect(reader).toBeInstanceOf(Reader);
  opened.push(reader);
  expect(reader.isPaused()).toBe(true);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(reader.readableLength).toBe(0);
  reader.resume();
  const [heard] = await once(
    reader.on('data', () => undefined),
    'data',
  );
  expect(String(heard)).toBe('hello');
  reader.write('world');
  expect(String((await once(client, 'data'))[0])).toBe('world');
  client.end();
  await once(reader, 'end');
  expect(reader.destroyed).toBe(false);
  const over = once(client, 'end');
  reader.end();
  await over;
  // Nothing of the plain one keeps the server from closing.
  await new Promise<void>((resolve, reject) => server.close((error) => (error ? reject(error) : resolve())));
});

test('one of which something was read stays as it is', async () => {
  const { port } = server.address() as net.AddressInfo;
  const client = net.connect({ port, host: '127.0.0.1' });
  const [plain] = (await accepted) as [net.Socket];
  opened.push(client, plain);
  plain.unshift(Buffer.from('read'));
  expect(Reader.over(plain)).toBe(plain);
  plain.destroy();
  expect(Reader.over(plain)).toBe(plain);
});
