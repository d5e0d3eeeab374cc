/** Connections opened ahead, over the lives of one process: what was begun in one life is nothing in the next. */
import net from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FRAME } from '../../../webhook/sidecar/frames.ts';
import { HEARTBEAT } from '../../../webhook/sidecar/methods.ts';
import { Stage } from '../../../webhook/sidecar/replay/staged.ts';
import type { Session } from '../../../webhook/sidecar/session.ts';

/** A broker that is attached to as soon as it says a byte; it says it when it is told to. */
let broker: net.Server;
let accepted: net.Socket[] = [];
const clients: net.Socket[] = [];
beforeEach(async () => {
  accepted = [];
  broker = net.createServer((socket) => {
    socket.on('error', () => undefined);
    accepted.push(socket);
  });
  await new Promise<void>((resolve) => broker.listen(0, '127.0.0.1', resolve));
});
afterEach(() => {
  for (const socket of [...accepted, ...clients.splice(0)]) socket.destroy();
  broker.close();
});

const dial = async (): Promise<net.Socket> => {
  const socket = net.connect((broker.address() as net.AddressInfo).port, '127.0.0.1');
  clients.push(socket);
  await new Promise((resolve) => socket.once('connect', resolve));
  return socket;
};

const sessionOf = (prefetch = 10) => {
  const channel = { id: 1, confirm: false, prefetch, globalPrefetch: 0 };
  const attachment = () => {
    const made = {
      done: false,
      toBroker: { take: () => [] },
      fromBroker: () => {
        made.done = true;
      },
    };
    return made;
  };
  const session = { handshake: { tune: { heartbeat: 0 } }, wires: { openChannels: () => [channel] }, attachment };
  return { session: session as unknown as Session, channel };
};

const until = async (is: () => boolean): Promise<void> => {
  for (let tries = 0; !is(); tries++) {
    if (tries > 400) throw new Error('it never came');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};
const never = new AbortController().signal;
const say = (socket: net.Socket): void => {
  expect(HEARTBEAT[0]).toBe(FRAME.heartbeat);
  socket.write(HEARTBEAT);
};

test('after its end the same stage opens again: a process that was a copy may be one again', async () => {
  const stage = new Stage();
  const { session } = sessionOf();
  for (let life = 0; life < 3; life++) {
    const preparing = stage.prepare(session, dial, never);
    await until(() => accepted.length === life + 1);
    say(accepted[life]!);
    await preparing;
    expect(stage.has(session)).toBe(true);
    stage.end();
    expect(stage.has(session)).toBe(false);
    expect(stage.take(session)).toBeUndefined();
    await until(() => clients[life]!.destroyed);
  }
});

test('what was begun before an end is not kept, however late it comes, nor taken for what was begun after', async () => {
  const stage = new Stage();
  const { session } = sessionOf();
  const first = stage.prepare(session, dial, never);
  await until(() => accepted.length === 1);
  stage.end();
  const second = stage.prepare(session, dial, never);
  await until(() => accepted.length === 2);
  say(accepted[1]!);
  await second;
  say(accepted[0]!);
  await first;
  expect(clients[0]!.destroyed).toBe(true);
  expect(stage.has(session)).toBe(true);
  expect(stage.take(session)?.socket).toBe(clients[1]);
  expect(clients[1]!.destroyed).toBe(false);
});

test('begun before an end, and nothing after: nothing is kept', async () => {
  const stage = new Stage();
  const { session } = sessionOf();
  const preparing = stage.prepare(session, dial, never);
  await until(() => accepted.length === 1);
  stage.end();
  say(accepted[0]!);
  await preparing;
  expect(stage.has(session)).toBe(false);
  expect(clients[0]!.destroyed).toBe(true);
});

test('is opened anew when the channels have changed since, and not otherwise', async () => {
  const stage = new Stage();
  const { session, channel } = sessionOf();
  const prepare = async (): Promise<void> => {
    const before = accepted.length;
    const preparing = stage.prepare(session, dial, never);
    await until(() => accepted.length > before);
    say(accepted[before]!);
    await preparing;
  };
  await prepare();
  await stage.prepare(session, dial, never);
  expect(accepted).toHaveLength(1);
  channel.prefetch = 20;
  expect(stage.has(session)).toBe(false);
  await prepare();
  expect(stage.has(session)).toBe(true);
  expect(clients[0]!.destroyed).toBe(true);
  // And one that the broker has closed is not there any more.
  accepted[1]!.destroy();
  await until(() => !stage.has(session));
});
