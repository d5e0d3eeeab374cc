/** A broker over TLS, over IPv6, of several nodes; and what passes unread. The app speaks amqp:// to loopback all the while. */
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import amqp, { type ChannelModel, credentials } from 'amqplib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { authority, type Issuer, issue, pemOf } from '../../scripts/playground/pki.ts';
import { freePort } from '../../scripts/playground/ports.ts';
import type { Broker } from '../../webhook/sidecar/doors.ts';
import { SessionRelay } from '../../webhook/sidecar/relay.ts';
import { connectTls } from '../../webhook/sidecar/upstream.ts';
import { handOff } from './support/clone.ts';
import { startDns } from './support/dns.ts';
import { publishNumbers, range, sleep, until } from './support/harness.ts';
import { type RabbitMQ, startRabbitMQ } from './support/rabbitmq.ts';

const LISTEN = '127.0.0.2';
const quiet = (): void => undefined;
const dir = mkdtempSync(join(tmpdir(), 'shadow-tls-'));
const warnings: string[] = [];
const log = {
  debug: quiet,
  info: quiet,
  error: quiet,
  warn: (fields: object, message: string) => void warnings.push(`${message} ${JSON.stringify(fields)}`),
};

let issuer: Issuer;
/** Its certificate, PEM. */
let ca: string;
let broker: RabbitMQ;
let streamPort: number;
let relay: SessionRelay | undefined;
let ends: (() => unknown)[] = [];

/** A directory as the Secret would be mounted. */
const secret = (name: string, files: Record<string, string>): string => {
  mkdirSync(join(dir, name), { recursive: true });
  for (const [file, text] of Object.entries(files)) writeFileSync(join(dir, name, file), text);
  return join(dir, name);
};

beforeAll(async () => {
  issuer = await authority('test CA');
  ca = pemOf(issuer);
  const { cert, key } = await issue(issuer, { cn: 'broker', dns: ['mq.test'], ip: ['127.0.0.1', '::1'] });
  const made = secret('broker', { 'ca.crt': ca, 'tls.crt': cert, 'tls.key': key });
  streamPort = await freePort();
  broker = await startRabbitMQ([dir], {
    tls: { ca: join(made, 'ca.crt'), cert: join(made, 'tls.crt'), key: join(made, 'tls.key') },
    ipv6: true,
    plugins: ['rabbitmq_amqp1_0', 'rabbitmq_stream'],
    config: [`stream.listeners.tcp.1 = 127.0.0.1:${streamPort}`],
  });
});
afterEach(async () => {
  await Promise.race([Promise.all(ends.map((end) => end())), sleep(1000)]);
  ends = [];
  await relay?.stop(0);
  relay = undefined;
  warnings.length = 0;
});
afterAll(async () => {
  await broker?.stop();
  rmSync(dir, { recursive: true, force: true });
});

const trust = (): string => secret('trust', { 'ca.crt': ca });
const started = async (over: Partial<Broker>, tlsDir = trust()) => {
  const usual = { host: '127.0.0.1', port: broker.tlsPort, listen: LISTEN, tls: true };
  relay = new SessionRelay({ brokers: [{ ...usual, ...over }], blindPorts: [], tlsDir, log });
  await relay.start();
  return relay;
};
const client = async (url: string, options: object = {}): Promise<ChannelModel> => {
  const made = await amqp.connect(url, options);
  made.on('error', quiet);
  ends.push(() => made.close().catch(quiet));
  return made;
};
const raw = async (port: number, bytes: Buffer): Promise<{ socket: net.Socket; answer: Buffer }> => {
  const socket = net.connect(port, LISTEN);
  ends.push(() => socket.destroy());
  socket.on('error', quiet);
  socket.write(bytes);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  return { socket, answer };
};
/** As the broker sees its connections: user, and whether over TLS. Asked until it is so: it lists them late. */
const expectSeen = async (...expected: string[]): Promise<void> => {
  const asked = async (): Promise<string[]> =>
    (await broker.ctl('list_connections', 'user', 'ssl')).trim().split('\n').slice(1).sort();
  const deadline = Date.now() + 10_000;
  while (Date.now() < deadline && String(await asked()) !== String(expected)) await sleep(200);
  expect(await asked()).toEqual(expected);
};

/** A consumer that has 300 of 600 messages when its pod moves. Every one must be applied once, in order, over TLS. */
const movedUnderLoad = async (app: ChannelModel, queue: string, moved: SessionRelay): Promise<void> => {
  const channel = await app.createChannel();
  await channel.assertQueue(queue);
  await channel.prefetch(20);
  const seen: number[] = [];
  await channel.consume(queue, (message) => {
    if (!message) return;
    seen.push(Number(message.content.toString()));
    setTimeout(() => channel.ack(message), 2);
  });
  const outside = await client(`amqp://guest:guest@127.0.0.1:${broker.port}`);
  await publishNumbers(outside, queue, 1, 300);
  await until(() => seen.length > 100);
  const handoff = await handOff(moved);
  await publishNumbers(outside, queue, 301, 600);
  await until(() => seen.length >= 600);
  await handoff.finish();
  expect(seen).toEqual(range(1, 600));
  expect(handoff.losses).toEqual([]);
  const left = (await broker.queues()).find(({ name }) => name === queue);
  expect(left?.messages_ready).toBe(0);
};

describe('a broker over TLS', () => {
  it('is spoken to over TLS, byte for byte, by an app that speaks none', async () => {
    await started({});
    const channel = await (await client(`amqp://guest:guest@${LISTEN}:${broker.tlsPort}`)).createConfirmChannel();
    await channel.assertQueue('secured');
    const bodies = [0, 1, 131_065, 3_000_003].map((size) => Buffer.alloc(size, size % 251));
    for (const body of bodies) channel.sendToQueue('secured', body);
    await channel.waitForConfirms();
    for (const body of bodies) {
      const message = await channel.get('secured', { noAck: true });
      if (!message) throw new Error('no message');
      expect(message.content.equals(body)).toBe(true);
    }
    await expectSeen('guest\ttrue');
  });

  it('is handed over under load like any other', async () => {
    const moved = await started({});
    await movedUnderLoad(await client(`amqp://guest:guest@${LISTEN}:${broker.tlsPort}`), 'moved', moved);
  });

  it('knows the app by its certificate (SASL EXTERNAL), also after a handoff', async () => {
    const { cert, key } = await issue(issuer, { cn: 'shop' });
    await broker.ctl('add_user', 'shop', 'unused');
    await broker.ctl('set_permissions', 'shop', '.*', '.*', '.*');
    const files = { 'ca.crt': ca, 'tls.crt': cert, 'tls.key': key };
    const moved = await started({}, secret('client', files));
    const url = `amqp://${LISTEN}:${broker.tlsPort}`;
    await movedUnderLoad(await client(url, { credentials: credentials.external() }), 'external', moved);
    await expectSeen('guest\tfalse', 'shop\ttrue');
    await moved.stop(0);
    // Without the certificate the broker itself says no, and the app hears it.
    await started({});
    await expect(client(url, { credentials: credentials.external() })).rejects.toThrow(
      /EXTERNAL|ACCESS_REFUSED|closed/,
    );
  });

  it('is not trusted by another CA, under another name, or by half a Secret; the log says why', async () => {
    const url = `amqp://guest:guest@${LISTEN}:${broker.tlsPort}`;
    await started({}, secret('other', { 'ca.crt': pemOf(await authority('another CA')) }));
    await expect(client(url)).rejects.toThrow();
    expect(warnings.join()).toMatch(/broker not reached.*certificate/);
    await relay?.stop(0);
    // Well-known CAs do not know ours.
    await started({}, join(dir, 'no such'));
    await expect(client(url)).rejects.toThrow();
    // Both lead to the broker; one of them is in its certificate.
    const a = [[127, 0, 0, 1]];
    const dns = await startDns({ 'mq.test': { a }, 'other.test': { a } });
    ends.push(() => dns.stop());
    await expect(connectTls('other.test', broker.tlsPort, trust(), dns.conf)).rejects.toThrow(/altnames/);
    (await connectTls('mq.test', broker.tlsPort, trust(), dns.conf)).destroy();
    (await connectTls('127.0.0.1', broker.tlsPort, trust())).destroy();
    await expect(connectTls('127.0.0.1', broker.tlsPort, secret('half', { 'tls.key': 'x' }))).rejects.toThrow(
      'tls.crt',
    );
  });

  it('lets an app that speaks TLS itself reach it as it is, and refuses to move it', async () => {
    const passing = await started({});
    const options = { ca, checkServerIdentity: quiet };
    const app = await client(`amqps://guest:guest@${LISTEN}:${broker.tlsPort}`, options);
    const channel = await app.createConfirmChannel();
    await channel.assertQueue('own');
    channel.sendToQueue('own', Buffer.alloc(1_000_000, 7));
    await channel.waitForConfirms();
    expect(passing.report().hazards).toEqual([
      `a connection to 127.0.0.1:${broker.tlsPort} speaks TLS itself, so that only the broker can read it`,
    ]);
    await expect(passing.mute(1000)).rejects.toMatchObject({ code: 'SHADOW_E_SESSION' });
    await channel.checkQueue('own');
    await app.close();
    await until(() => passing.report().hazards.length === 0);
    expect((await passing.mute(1000)).carried).toBe(0);
  });

  it('is not dialled for an app that says nothing, and an app that goes leaves nothing behind', async () => {
    await started({});
    const socket = net.connect(broker.tlsPort, LISTEN);
    await once(socket, 'connect');
    await sleep(300);
    await expectSeen();
    socket.end();
    await once(socket, 'close');
  });
});

describe('IPv6', () => {
  it('reaches a broker at ::1, plain and over TLS', async () => {
    const plain = await started({ host: '::1', port: broker.port, tls: false });
    const app = await client(`amqp://guest:guest@${LISTEN}:${broker.port}`);
    await (await app.createChannel()).assertQueue('six');
    expect(plain.report().connections[0]?.broker).toBe(`[::1]:${broker.port}`);
    await app.close();
    await relay?.stop(0);
    await started({ host: '::1' });
    await (await client(`amqp://guest:guest@${LISTEN}:${broker.tlsPort}`)).createChannel();
    await expectSeen('guest\ttrue');
  });

  it('is served at ::1 too, unless something else is there', async () => {
    const port = await freePort();
    const others = [{ host: '127.0.0.1', port: broker.port }];
    await started({ host: '127.0.0.9', port, others, tls: false, listenToo: '::1' });
    await (await client(`amqp://guest:guest@[::1]:${port}`)).createChannel();
    await relay?.stop(0);
    // The broker itself listens there.
    await started({ port: broker.port, tls: false, listenToo: '::1' });
    expect(warnings.join()).toMatch(/port not relayed.*::1/);
    await (await client(`amqp://guest:guest@${LISTEN}:${broker.port}`)).createChannel();
  });
});

describe('several hosts', () => {
  it('are tried in order, by a copy too; the report names the one that answered', async () => {
    const down = await freePort();
    const others = [
      { host: '127.0.0.8', port: down },
      { host: '127.0.0.1', port: broker.tlsPort },
    ];
    const moved = await started({ host: '127.0.0.9', port: down, others });
    const app = await client(`amqp://guest:guest@${LISTEN}:${down}`);
    expect(moved.report().connections.map((connection) => connection.broker)).toEqual([`127.0.0.1:${broker.tlsPort}`]);
    await movedUnderLoad(app, 'clustered', moved);
    await relay?.stop(0);
    await started({ host: '127.0.0.9', port: down, others: [] });
    await expect(client(`amqp://guest:guest@${LISTEN}:${down}`)).rejects.toThrow();
    expect(warnings.join()).toMatch(/broker not reached.*127\.0\.0\.9/);
  });
});

describe('another protocol', () => {
  const SASL_1 = Buffer.from('AMQP\x03\x01\x00\x00', 'latin1');
  // PeerProperties, version 1, correlation 1, no properties.
  const PEER_PROPERTIES = Buffer.from('0000000c001100010000000100000000', 'hex');

  it.each(['plain', 'over TLS'])(
    'AMQP 1.0 on the same port is answered by the broker, and not moved: %s',
    async (how) => {
      const port = how === 'plain' ? broker.port : broker.tlsPort;
      const passing = await started({ port, tls: how !== 'plain' });
      const { socket, answer } = await raw(port, SASL_1);
      expect(answer.subarray(0, 8)).toEqual(SASL_1);
      expect(passing.report().hazards).toEqual(['connection 1: speaks AMQP 1.0']);
      await expect(passing.mute(1000)).rejects.toMatchObject({
        code: 'SHADOW_E_SESSION',
        message: expect.stringContaining('AMQP 1.0'),
      });
      // It goes on as if nothing had been asked.
      expect(socket.destroyed).toBe(false);
      socket.destroy();
      await until(() => passing.report().hazards.length === 0);
      await passing.mute(1000);
    },
  );

  it('the stream protocol on a port that was taken for AMQP is answered, and not moved', async () => {
    const passing = await started({ port: streamPort, tls: false });
    const { answer } = await raw(streamPort, PEER_PROPERTIES);
    // The response to PeerProperties.
    expect(answer.readUInt16BE(4)).toBe(0x8011);
    expect(passing.report().hazards).toEqual(['connection 1: speaks the stream protocol']);
    await expect(passing.mute(1000)).rejects.toMatchObject({ code: 'SHADOW_E_SESSION' });
  });
});
