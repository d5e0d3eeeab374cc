/** The commands of a replay handoff, and the record's two ways: real TLS on loopback, a stand-in for the relay. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import type { Command, FromSidecar, LinkTls, StateChange } from '../../../webhook/api/control.ts';
import { type Commands, createCommands } from '../../../webhook/sidecar/commands.ts';
import { fresh } from '../../../webhook/sidecar/handoff.ts';
import { encodeEntry } from '../../../webhook/sidecar/replay/entries.ts';
import type { Recorder } from '../../../webhook/sidecar/replay/recorder.ts';
import { createAuthority, createStandIn, log, type StandIn, until } from './world.ts';

const CLAIM = 'm-0';
const root = mkdtempSync(join(tmpdir(), 'shadow-replay-'));
const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** A sidecar's commands; what it says is kept, and may be passed on. */
class Side {
  readonly relay: StandIn & { recorder?: Recorder };
  readonly commands: Commands;
  readonly said: FromSidecar[] = [];
  readonly runDir: string;
  readonly idDir: string;
  readonly lingered: number[] = [];
  unreachable = false;
  pass: ((message: FromSidecar) => void) | undefined;
  private connection = 1;
  private asked = 0;

  constructor(name: string) {
    this.runDir = join(root, name, 'run');
    this.idDir = join(root, name, 'id');
    for (const dir of [this.runDir, this.idDir]) mkdirSync(dir, { recursive: true });
    this.is(name);
    const relay: StandIn & { recorder?: Recorder } = createStandIn();
    this.relay = relay;
    this.relay.replay.record = (recorder) => {
      relay.calls.push('record');
      relay.recorder = recorder;
    };
    const send = (message: FromSidecar): void => {
      this.said.push(message);
      this.pass?.(message);
    };
    this.commands = createCommands({
      relay: this.relay,
      control: () => ({
        connection: () => this.connection,
        send,
        flush: (message) => {
          send(message);
          return Promise.resolve(true);
        },
        redial: () => undefined,
      }),
      health: { rest: async () => undefined },
      forwarder: {
        open: async (host) => {
          if (this.unreachable) throw new Error(`${host} refused`);
          return [{ port: 80, to: 40_000 }];
        },
        linger: async (ms) => void this.lingered.push(ms),
      },
      paths: { runDir: this.runDir, idDir: this.idDir },
      uid: name,
      handoff: fresh,
      die: (why) => {
        throw new Error(why);
      },
      log,
    });
    ends.push(() => {
      this.pass = undefined;
      rmSync(join(root, name), { recursive: true, force: true });
    });
  }

  is(uid: string): void {
    writeFileSync(join(this.idDir, 'uid'), uid);
  }

  /** The cut of this generation ends at once. */
  thaw(generation: number): void {
    writeFileSync(join(this.runDir, 'thaw'), String(generation));
  }

  async ask(command: Record<string, unknown> & { type: Command['type'] }): Promise<unknown> {
    this.asked += 1;
    const id = this.asked;
    this.commands.handle({ claim: CLAIM, epoch: 1, id, ...command } as unknown as Command, this.connection);
    await until(`${command.type} is answered`, () =>
      this.said.some((each) => each.type === 'answer' && each.id === id),
    );
    const answer = this.said.find((each) => each.type === 'answer' && each.id === id);
    if (answer?.type !== 'answer') throw new Error('no answer');
    if (!answer.ok) throw Object.assign(new Error(answer.error?.message), answer.error);
    return answer.result;
  }

  /** Dropped, and back: whatever was on its way is lost. */
  reconnect(): void {
    this.connection += 1;
    this.commands.opened();
  }

  get state(): string {
    return this.commands.state().state;
  }

  get last(): StateChange | undefined {
    return this.said.findLast((each) => each.type === 'state');
  }
}

const freeze = (side: Side, generation: number): Promise<unknown> => {
  side.thaw(generation);
  return side.ask({ type: 'freeze', record: true, generation, deadlineMs: 5000 });
};
const recording = async (name: string): Promise<Side> => {
  const side = new Side(name);
  await freeze(side, 1);
  await until('it records', () => side.state === 'recording' && side.relay.calls.at(-1) === 'goOn');
  ends.push(() => side.ask({ type: 'unmute' }).catch(() => undefined));
  return side;
};
/** Wakes as another pod. */
const copied = async (name: string): Promise<Side> => {
  const side = new Side(name);
  side.is(`${name}-copy`);
  await freeze(side, 1);
  await until('it wakes as a copy', () => side.state === 'copy');
  return side;
};
const replay = (direct?: object): { type: 'replay' } & Record<string, unknown> => ({
  type: 'replay',
  onDivergence: 'Abort',
  stallMs: 5000,
  attachMs: 5000,
  ...(direct ? { direct } : {}),
});
/** The controller's part: each hears the other's record messages. */
const join2 = (source: Side, copy: Side): { lose: boolean; passed: number } => {
  const wire = { lose: false, passed: 0 };
  source.pass = (message) => {
    if (message.type !== 'recorded' || wire.lose) return;
    wire.passed += 1;
    copy.commands.handle(message, 1);
  };
  copy.pass = (message) => {
    if (message.type === 'wanted' && !wire.lose) source.commands.handle(message, 1);
  };
  return wire;
};
/** Records entries that ask nothing of the copy's app. */
const adder = (source: Side) => (count: number) => {
  const entry = { kind: 'settle', connection: 1, channel: 1, tag: 0, how: 'ack', requeue: false, all: true } as const;
  for (let n = 0; n < count; n++) source.relay.recorder?.add(entry);
};
const settle = (tag: number): Buffer =>
  encodeEntry({ kind: 'settle', connection: 1, channel: 1, tag, how: 'ack', requeue: false, all: false });

test('a running source: halted, recorded, thawed; recorded anew for another cut; served, muted with END, told to retire', async () => {
  const side = await recording('source');
  expect(side.relay.calls).toEqual(['halt', 'record', 'goOn']);
  expect(side.last).toMatchObject({ state: 'recording', claim: CLAIM, record: { entries: 0, throttle: 1 } });
  const first = side.relay.recorder;
  // A new leader says it again: the cut was made, so the record goes on.
  await freeze(side, 1);
  expect(side.relay.recorder).toBe(first);
  await freeze(side, 2);
  await until('it records anew', () => side.relay.calls.length === 6);
  expect(side.relay.recorder).not.toBe(first);
  await expect(side.ask({ type: 'freeze', generation: 3, deadlineMs: 1 })).rejects.toMatchObject({
    code: 'SHADOW_E_FREEZE',
  });
  await side.ask({ type: 'mute', timeoutMs: 1000 });
  expect(side.state).toBe('mute');
  expect(side.relay.recorder?.ended).toBe(true);
  await expect(freeze(side, 4)).rejects.toMatchObject({ code: 'SHADOW_E_FREEZE' });
  await side.ask({ type: 'supersede' });
  expect(await side.ask({ type: 'retire' })).toEqual({});
  expect(side.commands.state()).toMatchObject({ recorded: true, retired: true });
  await side.commands.linger();
  const forward = { host: '10.0.0.2', dialMs: 500, lingerMs: 3000 };
  side.unreachable = true;
  expect(await side.ask({ type: 'retire', forward })).toEqual({ why: expect.stringContaining('refused') });
  await side.commands.linger();
  side.unreachable = false;
  for (const _again of [1, 2])
    expect(await side.ask({ type: 'retire', forward })).toEqual({ forwards: [{ port: 80, to: 40_000 }] });
  await side.commands.linger();
  expect(side.lingered).toEqual([0, 0, 3000]);
});

test('a session that is lost, or a record too large, is told: the source serves on until it is un-muted', async () => {
  const side = await recording('loser');
  side.relay.lose('the broker is gone');
  await until('it is told', () => side.last?.lost !== undefined);
  expect(side.last).toMatchObject({ state: 'recording', lost: 'the broker is gone', code: 'SHADOW_E_RECORD' });
  expect(side.commands.hello()).toMatchObject({ state: 'recording', lost: 'the broker is gone' });
  await side.ask({ type: 'unmute' });
  expect(side.commands.hello()).toEqual({ state: 'idle' });
  expect(side.last?.record).toBeUndefined();
});

test('a mute that fails leaves a source recording', async () => {
  const side = await recording('unmuted');
  side.relay.failing = 'mute';
  await expect(side.ask({ type: 'mute', timeoutMs: 1 })).rejects.toMatchObject({ code: 'SHADOW_E_MUTE' });
  expect(side.state).toBe('recording');
  expect(side.relay.recorder?.ended).toBe(false);
});

test('a copy asks through the controller, takes each byte once whatever is lost, and is replayed at END only', async () => {
  const source = await recording('giver');
  const copy = await copied('taker');
  expect(copy.relay.calls).toContain('becomeCopy');
  await expect(copy.ask({ type: 'attach', timeoutMs: 1 })).rejects.toMatchObject({ code: 'SHADOW_E_ATTACH' });
  const wire = join2(source, copy);
  await copy.ask(replay());
  expect(copy.state).toBe('replaying');
  const add = adder(source);
  const received = (): number | undefined => copy.last?.play?.received;
  add(5);
  await until('five are here', () => received() === 5);
  wire.lose = true;
  add(5);
  await new Promise((resolve) => setTimeout(resolve, 250));
  wire.lose = false;
  copy.reconnect();
  source.reconnect();
  await until('ten are here', () => received() === 10);
  expect(copy.state).toBe('replaying');
  await source.ask({ type: 'mute', timeoutMs: 1000 });
  await until('it is replayed', () => copy.state === 'replayed');
  expect(copy.last?.play).toMatchObject({ link: 'relay', received: 11, ended: true, lag: 0, attached: true });
  await copy.ask({ type: 'live' });
  await until('it is live', () => copy.relay.calls.includes('live'));
  expect(copy.last?.play).toBeUndefined();
});

test('what is no record, or ends before all is here, is never played to the end', async () => {
  const source = await recording('liar');
  const copy = await copied('victim');
  join2(source, copy);
  await copy.ask(replay());
  // Says that there are more.
  source.relay.recorder?.stream.append(encodeEntry({ kind: 'end', entries: 7 }));
  await until('it fails', () => copy.last?.lost !== undefined);
  expect(copy.last).toMatchObject({ state: 'replaying', code: 'SHADOW_E_RECORD' });
  await expect(copy.ask({ type: 'live' })).rejects.toMatchObject({ code: 'SHADOW_E_ATTACH' });
});

const authority = createAuthority();
const certificates = (): { source: LinkTls; copy: LinkTls } => {
  const one = authority.issue('source');
  const other = authority.issue('copy');
  return { source: { ...one, peer: other.cert }, copy: { ...other, peer: one.cert } };
};

/** A way between two ports that can be cut. */
const passage = async (to: number): Promise<{ port: number; cut(): void; stall(): void }> => {
  const sockets = new Set<Socket>();
  let stalled = false;
  const server: Server = createServer((near) => {
    if (stalled) return;
    const far = connect(to, '127.0.0.1');
    near.pipe(far).pipe(near);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  ends.push(cut);
  const address = server.address();
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    cut,
    stall: () => {
      stalled = true;
    },
  };
};

test('the direct link carries the record, and when it breaks the controller does: nothing is lost or doubled', async () => {
  const pair = certificates();
  const source = await recording('direct-source');
  const copy = await copied('direct-copy');
  const wire = join2(source, copy);
  const { port } = (await source.ask({ type: 'serve', tls: pair.source })) as { port: number };
  expect(await source.ask({ type: 'serve', tls: pair.source })).toEqual({ port });
  const way = await passage(port);
  await copy.ask(replay({ host: '127.0.0.1', port: way.port, tls: pair.copy }));
  await until('it is linked', () => copy.last?.play?.link === 'direct');
  const add = adder(source);
  const before = wire.passed;
  // More than a chunk, and more than the window.
  add(300_000);
  source.commands.check();
  await until('all are here', () => copy.last?.play?.received === 300_000);
  expect(wire.passed).toBe(before);
  add(10);
  way.cut();
  await until('the rest is here', () => copy.last?.play?.received === 300_010);
  expect(copy.last?.play?.link).toBe('relay');
  expect(copy.last?.lost).toBeUndefined();
});

test('nobody else is let in or believed: neither another client nor another server', async () => {
  const pair = certificates();
  const stranger = authority.issue('copy');
  const source = await recording('guarded');
  const { port } = (await source.ask({ type: 'serve', tls: pair.source })) as { port: number };
  for (const own of [stranger, {}]) {
    const socket = tls.connect({ host: '127.0.0.1', port, rejectUnauthorized: false, minVersion: 'TLSv1.3', ...own });
    let bytes = 0;
    socket.on('data', () => {
      bytes += 1;
    });
    socket.on('error', () => undefined);
    socket.on('secureConnect', () => socket.write('wanted'));
    await until('it is thrown out', () => socket.destroyed);
    expect(bytes).toBe(0);
  }
  // A server that shows another certificate of the same authority: the record is asked for through the controller.
  const copy = await copied('careful');
  const wire = join2(source, copy);
  const impostor = tls.createServer({ ...stranger, minVersion: 'TLSv1.3' });
  await new Promise<void>((resolve) => impostor.listen(0, '127.0.0.1', resolve));
  ends.push(() => impostor.close());
  const address = impostor.address();
  const at = typeof address === 'object' && address ? address.port : 0;
  await copy.ask(replay({ host: '127.0.0.1', port: at, tls: pair.copy }));
  source.relay.recorder?.stream.append(settle(1));
  await until('it comes through the controller', () => wire.passed > 0);
  expect(copy.last?.play?.link).toBe('relay');
});

test('a direct way that swallows everything costs next to no time', async () => {
  const source = await recording('walled');
  const copy = await copied('outside');
  const wire = join2(source, copy);
  const way = await passage(1);
  way.stall();
  const pair = certificates();
  const began = performance.now();
  await copy.ask(replay({ host: '127.0.0.1', port: way.port, tls: pair.copy }));
  source.relay.recorder?.stream.append(settle(1));
  await until('it comes through the controller', () => wire.passed > 0);
  expect(performance.now() - began).toBeLessThan(600);
});

test('a slow disk does not lengthen the silence: the marker is there before the app is left unserved', async () => {
  const source = await recording('prepared');
  const marker = join(source.runDir, 'mute');
  const { relay } = source;
  let marked: boolean | undefined;
  relay.mute = () => {
    marked = existsSync(marker);
    return Promise.reject(new Error('the broker owes a confirm'));
  };
  await expect(source.ask({ type: 'mute', timeoutMs: 1000 })).rejects.toThrow('owes a confirm');
  expect(marked).toBe(true);
  expect(existsSync(marker)).toBe(false);
  expect(source.state).toBe('recording');
});
