import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { CONTROL_PATH, type Settlement } from '../../../webhook/api/control.ts';
import { createAuthority, createWire, createWorld, pause, SERVER_NAME, until, type World } from './world.ts';

// The machine may be busy; what is to be fast is measured by itself.
vi.setConfig({ testTimeout: 30_000 });

let world: World;
afterEach(() => world.close());

const CLAIM = 'm-0';
const mute = { type: 'mute', claim: CLAIM, timeoutMs: 1000 } as const;
const ack = (tag: number): Settlement => ({ connection: 1, channel: 1, tag, kind: 'ack', requeue: false });

/** A source superseded and a copy live, as after a commit. */
const committed = async (left: number) => {
  world = await createWorld();
  const port = world.hub().port();
  const wire = await createWire(() => port);
  const at = world.pod('source');
  at.env.SHADOW_CONTROLLER_URL = `wss://127.0.0.1:${wire.port}${CONTROL_PATH}`;
  const source = await world.start('source', at);
  const copy = await world.start('copy');
  await world.connected('source');
  await world.connected('copy');
  const hub = world.hub();
  await hub.command('source', mute);
  // In a pod CRIU does this; here the second process is told that it woke in another pod.
  await hub.command('copy', mute);
  writeFileSync(join(copy.idDir, 'uid'), 'copy2');
  writeFileSync(join(copy.idDir, 'token'), 'token-copy2');
  await hub.command('copy', { type: 'freeze', claim: CLAIM, generation: 1, deadlineMs: 1 });
  await world.connected('copy2');
  await hub.command('copy2', { type: 'attach', claim: CLAIM, timeoutMs: 1000 });
  copy.relay.carried = left;
  source.relay.left = left;
  hub.route(CLAIM, 'source', 'copy2');
  await hub.command('copy2', { type: 'live', claim: CLAIM });
  return { source, copy, sourceWire: wire };
};

/** The app of the copy settles one carried delivery. */
const settle = (copy: Awaited<ReturnType<typeof committed>>['copy'], tag: number): void => {
  copy.relay.carried -= 1;
  copy.relay.emit([ack(tag)]);
};

test('mute answers only when the marker is on disk, says so by state, and repeats its answer; unmute clears it', async () => {
  world = await createWorld();
  const { relay, runDir } = await world.start('a');
  await world.connected('a');
  const hub = world.hub();
  expect(hub.session('a')).toMatchObject({ state: 'idle', version: expect.stringMatching(/^\d/) });
  expect(await hub.command('a', mute)).toEqual({ carried: 3 });
  expect(JSON.parse(readFileSync(join(runDir, 'mute'), 'utf8'))).toEqual({ podUid: 'a', claim: CLAIM });
  expect(hub.session('a')).toMatchObject({ state: 'mute', claim: CLAIM });
  expect(await hub.command('a', mute)).toEqual({ carried: 3 });
  await expect(hub.command('a', { ...mute, claim: 'other' })).rejects.toMatchObject({ code: 'SHADOW_E_STALE' });
  await expect(hub.command('a', { type: 'live', claim: CLAIM })).rejects.toMatchObject({ code: 'SHADOW_E_STALE' });
  await hub.command('a', { type: 'unmute', claim: CLAIM });
  expect(existsSync(join(runDir, 'mute'))).toBe(false);
  expect(relay.calls).toEqual(['start', 'mute', 'unmute']);
});

test('a mute that fails leaves the sidecar idle and without marker', async () => {
  world = await createWorld();
  const { relay, runDir } = await world.start('a');
  await world.connected('a');
  relay.failing = 'mute';
  await expect(world.hub().command('a', mute)).rejects.toMatchObject({ code: 'SHADOW_E_MUTE' });
  expect(world.hub().session('a')).toMatchObject({ state: 'idle' });
  expect(existsSync(join(runDir, 'mute'))).toBe(false);
});

test('a command of an older epoch is refused and not carried out, on a new connection too', async () => {
  world = await createWorld();
  const { relay } = await world.start('a');
  await world.connected('a');
  world.epoch = 5;
  await world.hub().command('a', { type: 'inspect', claim: '' });
  world.epoch = 4;
  world.wire.cut();
  await until('gone', () => world.hub().session('a') === undefined);
  await world.connected('a');
  await expect(world.hub().command('a', mute)).rejects.toMatchObject({ code: 'SHADOW_E_STALE' });
  expect(relay.calls).toEqual(['start']);
});

test('a forged token, another path and another name in the certificate are refused', async () => {
  world = await createWorld();
  const at = world.pod('a');
  writeFileSync(join(at.idDir, 'token'), 'forged');
  await world.start('a', at);
  const dial = (path: string, token: string): Promise<string> =>
    new Promise((resolve) => {
      const ws = new WebSocket(`wss://127.0.0.1:${world.wire.port}${path}`, {
        ca: world.authority.pem,
        headers: { authorization: `Bearer ${token}` },
        ...{ servername: SERVER_NAME },
      });
      ws.on('open', () => resolve('open')).on('error', (error) => resolve(error.message));
    });
  expect(await dial(CONTROL_PATH, 'forged')).toMatch('401');
  expect(await dial('/v1/other', 'token-b')).toMatch('404');
  expect(await dial(CONTROL_PATH, 'token-b')).toBe('open');
  await pause(600);
  expect(world.hub().session('a')).toBeUndefined();

  // The sidecar's side of the same: right name by another CA, right CA by another name.
  world.serve(SERVER_NAME, createAuthority());
  await world.restartHub();
  await world.start('c');
  await pause(600);
  expect(world.hub().session('c')).toBeUndefined();
  world.serve('elsewhere.shadow-system.svc');
  await pause(1500);
  expect(world.hub().session('c')).toBeUndefined();
  world.serve(SERVER_NAME);
  await world.connected('c');
});

test('a pod may speak for its own side of its own claim only; what is no message closes the connection', async () => {
  const { source, copy } = await committed(5);
  const closed = (uid: string, message: unknown): Promise<string> =>
    new Promise((resolve) => {
      const ws = new WebSocket(`wss://127.0.0.1:${world.wire.port}${CONTROL_PATH}`, {
        ca: world.authority.pem,
        headers: { authorization: `Bearer token-${uid}` },
        ...{ servername: SERVER_NAME },
      });
      ws.on('open', () => {
        ws.send(JSON.stringify({ type: 'hello', version: '1', process: 'x', state: 'idle' }));
        ws.send(typeof message === 'string' ? message : JSON.stringify(message));
      });
      ws.on('close', (_code, reason) => resolve(String(reason)));
    });
  expect(await closed('evil', { type: 'settle', claim: CLAIM, seq: 1, settlements: [ack(1)] })).toMatch('not the copy');
  expect(await closed('evil', { type: 'settled', claim: CLAIM, seq: 99, outstanding: 0 })).toMatch('not the source');
  expect(await closed('evil', '{"type":"settle"}')).toMatch('not a message');
  expect(await closed('evil', 'x')).toMatch('not a message');
  expect(source.relay.settled).toEqual([]);
  expect(copy.sidecar.commands.state().state).toBe('live');
});

test('settlements reach the source once each and in order, through cut connections and a restarted hub', async () => {
  const { source, copy, sourceWire } = await committed(120);
  source.relay.settleMs = 3;
  settle(copy, 1);
  await pause(50);
  // Mute until told that the commit stands: nothing of it may have been applied.
  expect(source.relay.settled).toEqual([]);
  await world.hub().command('source', { type: 'supersede', claim: CLAIM });
  for (let tag = 2; tag <= 120; tag += 1) {
    settle(copy, tag);
    await pause(4);
    if (tag % 25 === 0) world.wire.cut();
    // After the copy's last cut, so that what the source missed comes from the hub.
    if (tag % 20 === 15) sourceWire.cut();
    if (tag === 60) {
      await world.restartHub();
      // The new leader learns the route late, by its record.
      setTimeout(() => world.hub().route(CLAIM, 'source', 'copy2'), 300);
    }
  }
  await until('all settled', () => source.sidecar.commands.state().state === 'closed', 20_000);
  expect(source.relay.settled.map(({ tag }) => tag)).toEqual(Array.from({ length: 120 }, (_, i) => i + 1));
  await until('copy idle', () => copy.sidecar.commands.state().state === 'idle');
  await until('the hub knows', () => world.hub().session('source')?.state === 'closed');
  expect(await world.hub().command('source', { type: 'settleStatus', claim: CLAIM })).toEqual({ outstanding: 0 });
  // Repeated by a new leader: the same answer.
  expect(await world.hub().command('copy2', { type: 'live', claim: CLAIM })).toEqual({});
});

test('a source gone for good is abandoned: the copy becomes idle and can be muted again', async () => {
  const { source, copy } = await committed(2);
  await source.sidecar.stop();
  settle(copy, 1);
  await pause(50);
  await expect(world.hub().command('copy2', { ...mute, claim: 'm-1' })).rejects.toMatchObject({
    code: 'SHADOW_E_MUTE',
  });
  world.hub().abandon(CLAIM);
  settle(copy, 2);
  await until('copy idle', () => world.hub().session('copy2')?.state === 'idle');
  expect(await world.hub().command('copy2', { ...mute, claim: 'm-1' })).toEqual({ carried: 3 });
});

test('the copy consumes when its source is closed, not before, and is told again after a reconnect and by a new leader', async () => {
  const { source, copy } = await committed(1);
  const consumed = (): boolean => copy.relay.calls.includes('consume');
  await world.hub().command('source', { type: 'supersede', claim: CLAIM });
  await pause(50);
  expect(consumed()).toBe(false);
  await world.restartHub();
  await world.connected('source');
  settle(copy, 1);
  // No route: the word of the closing can't have come through the hub.
  await pause(700);
  expect(consumed()).toBe(false);
  expect(copy.sidecar.commands.state().state).toBe('live');
  await world.connected('copy2');
  world.hub().route(CLAIM, 'source', 'copy2');
  await until('consumes', consumed);
  expect(source.relay.calls).toContain('close');
  await until('idle', () => copy.sidecar.commands.state().state === 'idle');
});

test('with nothing carried the copy consumes as soon as the source has closed', async () => {
  const { source, copy } = await committed(0);
  expect(copy.relay.waiting).toBe(true);
  await world.hub().command('source', { type: 'supersede', claim: CLAIM });
  await until('consumes', () => copy.relay.calls.includes('consume'), 400);
  expect(source.relay.calls).toContain('close');
});

test('a command under way fails retryably when the connection drops; the state outlives the hub', async () => {
  world = await createWorld();
  const { relay } = await world.start('a');
  await world.connected('a');
  // It may end before it is begun: its marker is written first, and the disk may be slow.
  const ended = Promise.withResolvers<{ carried: number }>();
  relay.attach = async () => {};
  relay.mute = () => ended.promise;
  const asked = world.hub().command('a', mute);
  const failed = expect(asked).rejects.toMatchObject({ code: 'SHADOW_E_SIDECAR_UNREACHABLE', retryable: true });
  await until('muting', () => world.hub().session('a')?.state === 'muting');
  const dropped = performance.now();
  await world.restartHub();
  await failed;
  // By the drop, not by the command's own time running out.
  expect(performance.now() - dropped).toBeLessThan(5000);
  await expect(world.hub().command('a', mute)).rejects.toMatchObject({ code: 'SHADOW_E_SIDECAR_UNREACHABLE' });
  ended.resolve({ carried: 1 });
  await until('back, mute', () => world.hub().session('a')?.state === 'mute');
  expect(world.hub().session('a')).toMatchObject({ claim: CLAIM });
  expect(await world.hub().command('a', mute)).toEqual({ carried: 1 });
});

test('a source that loses its broker while mute says so and cannot be cut', async () => {
  world = await createWorld();
  const { relay } = await world.start('a');
  await world.connected('a');
  await world.hub().command('a', mute);
  relay.lose('ECONNRESET');
  await until('told', () => world.hub().session('a')?.lost === 'ECONNRESET');
  const freeze = { type: 'freeze', claim: CLAIM, generation: 1, deadlineMs: 10 } as const;
  await expect(world.hub().command('a', freeze)).rejects.toMatchObject({ code: 'SHADOW_E_SOURCE_LOST' });
});

test('with bytes under way it does not freeze, so that the cut finds no marker', async () => {
  world = await createWorld();
  const { relay, runDir } = await world.start('a');
  await world.connected('a');
  await world.hub().command('a', mute);
  relay.quiescent = () => false;
  const freeze = { type: 'freeze', claim: CLAIM, generation: 1, deadlineMs: 10_000 } as const;
  await expect(world.hub().command('a', freeze)).rejects.toMatchObject({ code: 'SHADOW_E_FREEZE' });
  expect(existsSync(join(runDir, 'frozen'))).toBe(false);
});

test('a session that answers no keepalive is ended; one that does stays', async () => {
  world = await createWorld(30);
  await world.start('a');
  const silent = new WebSocket(`wss://127.0.0.1:${world.wire.port}${CONTROL_PATH}`, {
    ca: world.authority.pem,
    autoPong: false,
    headers: { authorization: 'Bearer token-b' },
    ...{ servername: SERVER_NAME },
  });
  silent.on('open', () => silent.send(JSON.stringify({ type: 'hello', version: '1', process: 'x', state: 'idle' })));
  await world.connected('a');
  await world.connected('b');
  await pause(400);
  expect(world.hub().session('a')).toBeDefined();
  expect(world.hub().session('b')).toBeUndefined();
});
