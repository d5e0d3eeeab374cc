import { get } from 'node:http';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import type { SidecarState } from '../../../webhook/api/control.ts';
import { createForwarder, type Forwarder, servedPorts } from '../../../webhook/sidecar/forward.ts';
import { fresh } from '../../../webhook/sidecar/handoff.ts';
import { createHealth } from '../../../webhook/sidecar/health.ts';
import { log, until } from './world.ts';

const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

const HEAD = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
const row = (local: string, port: number, state: string, uid: number): string =>
  `   0: ${local}:${port.toString(16).toUpperCase().padStart(4, '0')} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000 ${uid} 0 17 1\n`;
const ANY = '00000000';
const ANY6 = '0'.repeat(32);

const listening = async (serve: (socket: Socket) => void, host = '127.0.0.1'): Promise<number> => {
  const open = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on('error', () => undefined);
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  ends.push(() => {
    server.close();
    for (const socket of open) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
};

/** As in a pod of its own: what listens on `port` is the app's. */
const forwarderFor = (...ports: number[]): Forwarder =>
  createForwarder({ tables: async () => [HEAD + ports.map((port) => row(ANY, port, '0A', 1000)).join('')] });

test('what the app serves: listeners of others than us, on more than loopback, each once', () => {
  const tcp = HEAD + row(ANY, 8080, '0A', 1000) + row(ANY, 15055, '0A', 64646) + row('0100007F', 5005, '0A', 1000);
  const tcp6 = HEAD + row(ANY6, 8080, '0A', 0) + row(ANY6, 443, '0A', 0) + row(ANY6, 9999, '01', 0);
  expect(servedPorts([tcp, tcp6], 64646)).toEqual([443, 8080]);
  expect(servedPorts([''], 64646)).toEqual([]);
});

test('passes bytes both ways, and an end of one side only as such', async () => {
  const app = await listening((socket) => {
    let heard = '';
    socket.on('data', (data) => {
      heard += data;
    });
    socket.on('end', () => socket.end(`heard ${heard.length}`));
  });
  const forwarder = forwarderFor(app);
  const [forward] = await forwarder.open('127.0.0.1', 500);
  expect(forward?.port).toBe(app);
  const client = connect({ port: forward!.to, host: '127.0.0.1', allowHalfOpen: true });
  ends.push(() => client.destroy());
  client.end(Buffer.alloc(3 << 20));
  let answer = '';
  client.on('data', (data) => {
    answer += data;
  });
  await until('it is answered', () => answer === `heard ${3 << 20}`);
  // asked again, by a new leader: the same
  expect(await forwarder.open('127.0.0.1', 500)).toEqual([forward]);
});

test('is refused as a whole when one port of the copy cannot be reached; and may be tried again', async () => {
  const app = await listening((socket) => socket.end('app'));
  const closed = await listening(() => undefined);
  ends.pop()?.();
  const forwarder = forwarderFor(app, closed);
  await expect(forwarder.open('127.0.0.1', 500)).rejects.toThrow(`port ${closed}`);
  // nothing is passed on, so nobody lingers
  const before = performance.now();
  await forwarder.linger(5_000);
  expect(performance.now() - before).toBeLessThan(1_000);
});

test('lingers, serving, then closes what is quiet so that its peers know, and what is busy when it is done', async () => {
  const app = await listening((socket) => {
    socket.on('data', (data) => {
      if (String(data) === 'long') for (let n = 1; n <= 10; n++) setTimeout(() => socket.write(`${n} `), n * 40);
      else socket.write('now');
    });
    socket.on('end', () => socket.end());
  });
  const forwarder = forwarderFor(app);
  const [forward] = await forwarder.open('127.0.0.1', 500);
  const client = (what: string) => {
    const told = { text: '', ended: 0, closed: 0 };
    const socket = connect(forward!.to, '127.0.0.1', () => socket.write(what));
    socket.on('data', (data) => {
      told.text += data;
    });
    socket.on('end', () => {
      told.ended = performance.now();
    });
    ends.push(() => socket.destroy());
    return told;
  };
  const start = performance.now();
  const lingering = forwarder.linger(300);
  const quiet = client('short');
  await new Promise((resolve) => setTimeout(resolve, 200));
  const busy = client('long');
  await lingering;
  const took = performance.now() - start;
  expect(quiet.text).toBe('now');
  expect(quiet.ended - start).toBeGreaterThan(290);
  await until('the busy one is ended', () => busy.ended > 0);
  expect(busy.text).toBe('1 2 3 4 5 6 7 8 9 10 ');
  expect(took).toBeGreaterThan(600);
  expect(took).toBeLessThan(1_500);
});

test('a copy answers whether it is ready at the moment it goes live, within the timeout of a probe', async () => {
  let state: SidecarState = 'replayed';
  const health = createHealth({
    port: 0,
    state: () => state,
    started: () => true,
    handoff: () => ({ ...fresh, state }),
    replay: () => ({ swallowed: 0 }),
    report: () => ({ connections: [], hazards: [], delivered: 0, published: 0 }),
    reattached: () => ({ severed: 0, hidden: 0, givenUp: 0 }),
    outstanding: () => ({ carried: 0, settling: 0 }),
    log,
  });
  await health.start();
  ends.push(health.stop);
  const ready = async (): Promise<[number | undefined, number]> => {
    const start = performance.now();
    const status = await new Promise<number | undefined>((resolve, reject) => {
      get({ port: health.port(), path: '/ready', agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode);
      }).on('error', reject);
    });
    return [status, performance.now() - start];
  };
  const [status, ms] = await ready();
  expect(status).toBe(503);
  expect(ms).toBeGreaterThan(700);
  expect(ms).toBeLessThan(980);
  const asked = ready();
  await new Promise((resolve) => setTimeout(resolve, 300));
  state = 'live';
  const [then, waited] = await asked;
  expect(then).toBe(200);
  expect(waited).toBeLessThan(400);
  // who is not about to be ready says so at once
  state = 'mute';
  const [mute, at] = await ready();
  expect(mute).toBe(503);
  expect(at).toBeLessThan(100);
});
