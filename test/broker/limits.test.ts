/** What a relay does with peers that are slow, or that break the protocol: others never notice. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { encode, METHOD } from '../../webhook/sidecar/methods.ts';
import { content, frame, long, method, octet, short, text } from '../unit/sidecar/model/frames.ts';
import { log, sleep, until, useBroker } from './support/harness.ts';
import { Raw } from './support/raw.ts';

const harness = useBroker();
let raws: Raw[] = [];
afterEach(() => {
  for (const raw of raws) raw.destroy();
  raws = [];
  vi.restoreAllMocks();
});
const open = async (host = '127.0.0.2'): Promise<Raw> => {
  const raw = await Raw.open(host, harness.broker.port);
  raws.push(raw);
  await raw.channel(1);
  return raw;
};
const publish = (queue: string): Buffer => method(1, METHOD.basicPublish, short(0), text(''), text(queue), octet(0));

describe('a connection that breaks the protocol', () => {
  const endless = frame(3, 1, Buffer.from('abc'));
  endless[endless.length - 1] = 1;
  const header = content(1, { correlation: '', body: 'abc' })[0]!;
  const BROKEN: [string, Buffer[], number, string][] = [
    ['a frame without its end', [publish('q'), header, endless], 501, 'FRAME_ERROR'],
    ['an unknown frame type', [frame(5, 1, Buffer.alloc(9))], 501, 'FRAME_ERROR'],
    ['arguments cut short', [method(1, METHOD.basicAck, long(0))], 502, 'SYNTAX_ERROR'],
    ['more body than announced', [publish('q'), header, frame(3, 1, Buffer.alloc(4))], 505, 'UNEXPECTED_FRAME'],
  ];

  it.each(BROKEN)('by %s is closed with the reason, logged, and no other', async (_name, frames, code, reply) => {
    const warned = vi.spyOn(log, 'warn');
    const client = await harness.app();
    const channel = await client.createConfirmChannel();
    await channel.assertQueue('fine');
    const raw = await open();
    raw.send(...frames);
    const close = Raw.closeOf(await raw.next(METHOD.connectionClose));
    expect(close).toMatchObject({ code, text: expect.stringContaining(`${reply} - `) });
    raw.send(encode.connectionCloseOk());
    raw.socket.end();
    await until(() => raw.ended);
    expect(warned.mock.calls).toContainEqual([
      expect.objectContaining({ connection: 2, error: close.text.replace(`${reply} - `, '') }),
      'session failed',
    ]);
    channel.sendToQueue('fine', Buffer.from('1'));
    await channel.waitForConfirms();
    await until(() => harness.relay.report().connections.length === 1);
  });

  it('by what the broker finds out itself: its own words', async () => {
    const raw = await open();
    // A content without a publish, and a channel that is not open.
    raw.send(header, encode.channelOpen(1));
    expect(Raw.closeOf(await raw.next(METHOD.connectionClose)).code).toBe(505);
    const other = await open();
    other.send(encode.confirmSelect(9));
    expect(Raw.closeOf(await other.next(METHOD.connectionClose)).code).toBe(504);
  });
});

describe('an end', () => {
  it('comes after that of its app: who is served goes on, who is new is refused', async () => {
    const client = await harness.app();
    const channel = await client.createConfirmChannel();
    await channel.assertQueue('last-words');
    let stopped = false;
    const stopping = harness.relay.stop(20_000).then(() => {
      stopped = true;
    });
    await sleep(100);
    for (let n = 0; n < 20; n++) channel.sendToQueue('last-words', Buffer.from(String(n)));
    await channel.waitForConfirms();
    await expect(Raw.connect('127.0.0.2', harness.broker.port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    expect(stopped).toBe(false);
    await client.close();
    await stopping;
    const { messageCount } = await (await (await harness.outside()).createChannel()).checkQueue('last-words');
    expect(messageCount).toBe(20);
  });

  it('does not wait for an app for ever', async () => {
    const raw = await open();
    const began = performance.now();
    await harness.relay.stop(400);
    expect(performance.now() - began).toBeGreaterThanOrEqual(390);
    await until(() => raw.ended, 1000);
  });
});

describe('memory', () => {
  let child: ChildProcess;
  const memory = async (): Promise<{ kept: number; rss: number }> => {
    child.send('memory');
    const [answer] = (await once(child, 'message')) as [{ kept: number; rss: number }];
    return answer;
  };
  beforeAll(async () => {
    child = fork(new URL('./support/relay-process.ts', import.meta.url), [String(harness.broker.port)]);
    await once(child, 'message');
  });
  afterAll(() => child.kill());

  it('stays bounded under apps that read nothing, however long', async () => {
    const outside = await (await harness.outside()).createConfirmChannel();
    const before = await memory();
    const body = Buffer.alloc(1 << 20, 1);
    const apps: Raw[] = [];
    for (const name of ['flood-1', 'flood-2', 'flood-3']) {
      await outside.assertQueue(name);
      for (let n = 0; n < 120; n++) outside.sendToQueue(name, body);
      await outside.waitForConfirms();
      const raw = await open('127.0.0.3');
      const consume = { tag: 'c', queue: name, noLocal: false, noAck: true, exclusive: false, arguments: long(0) };
      await raw.ask(encode.consume(1, consume), METHOD.basicConsumeOk);
      raw.socket.pause();
      apps.push(raw);
    }
    let most = 0;
    // Longer than the relay leaves a broker unread.
    for (const end = Date.now() + 12_000; Date.now() < end; await sleep(300))
      most = Math.max(most, (await memory()).kept - before.kept);
    // A turn each: the broker sees that its socket moves, and no more than that.
    expect(most).toBeGreaterThan(1 << 20);
    expect(most).toBeLessThan(32 << 20);
    for (const raw of apps) raw.destroy();
    await until(() => apps.every(({ ended }) => ended));
    // What is gone keeps nothing; what the broker still has on its way is read to its end first.
    let left = Number.POSITIVE_INFINITY;
    for (const end = Date.now() + 10_000; left > 8 << 20 && Date.now() < end; await sleep(200))
      left = (await memory()).kept - before.kept;
    expect(left).toBeLessThan(8 << 20);
  });

  it('stays bounded under a broker that reads nothing', async () => {
    const before = await memory();
    const raw = await open('127.0.0.3');
    await harness.broker.ctl('set_vm_memory_high_watermark', '0.00001');
    try {
      const chunk = Buffer.concat([
        publish('nowhere'),
        ...content(1, { correlation: '', body: 'x'.repeat(1 << 20) }, 131_064),
      ]);
      let written = 0;
      for (const end = Date.now() + 2500; Date.now() < end && written < 200 << 20; ) {
        if (raw.socket.writableNeedDrain) await sleep(20);
        else {
          raw.socket.write(chunk);
          written += chunk.length;
        }
      }
      expect((await memory()).kept - before.kept).toBeLessThan(16 << 20);
      // It stands still: not all was taken.
      expect(raw.socket.writableLength).toBeGreaterThan(0);
    } finally {
      await harness.broker.ctl('set_vm_memory_high_watermark', '0.4');
    }
  });
});
