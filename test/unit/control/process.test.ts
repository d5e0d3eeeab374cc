import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { PROTOCOL } from '../../../webhook/api/skew.ts';
import { createWorld, type Pod, pause, until, type World } from './world.ts';

// The machine may be busy; what is to be fast is measured by itself.
vi.setConfig({ testTimeout: 30_000 });

let world: World;
let children: ChildProcess[];
beforeEach(async () => {
  children = [];
  world = await createWorld();
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  await world.close();
});

const CLAIM = 'm-0';
let port = 21055 + (process.pid % 1000) * 10;
const launch = (
  at: Pod,
): { child: ChildProcess; exited: Promise<number | null>; health(path: string): Promise<string> } => {
  port += 1;
  const own = port;
  const child = spawn(process.execPath, [join(import.meta.dirname, 'child.ts')], {
    env: { ...at.env, SHADOW_HEALTH_PORT: String(own), SHADOW_LOG: process.env.TEST_LOG ?? 'silent' },
    stdio: ['ignore', process.env.TEST_LOG ? 'inherit' : 'ignore', 'inherit'],
  });
  children.push(child);
  return {
    child,
    exited: new Promise((resolve) => child.on('exit', resolve)),
    health: async (path) => {
      try {
        const response = await fetch(`http://127.0.0.1:${own}${path}`);
        return `${response.status} ${(await response.text()).trim()}`;
      } catch {
        return 'refused';
      }
    },
  };
};
const ticks = (at: Pod): number => statSync(join(at.runDir, 'ticks')).size;
const calls = (at: Pod): string[] => readFileSync(join(at.runDir, 'calls'), 'utf8').trim().split('\n');

const frozen = async (deadlineMs: number) => {
  const at = world.pod('a');
  const process_ = launch(at);
  await world.connected('a');
  await world.hub().command('a', { type: 'mute', claim: CLAIM, timeoutMs: 1000 });
  await world.hub().command('a', { type: 'freeze', claim: CLAIM, generation: 7, deadlineMs });
  await until('frozen', () => existsSync(join(at.runDir, 'frozen')));
  return { at, ...process_ };
};
const thaw = (at: Pod, generation: number): void => writeFileSync(join(at.runDir, 'thaw'), String(generation));

test('frozen it does nothing at all; thawed under the same uid it goes on as the mute source', async () => {
  const { at, health } = await frozen(20_000);
  expect(readFileSync(join(at.runDir, 'frozen'), 'utf8')).toBe('7');
  const before = ticks(at);
  // A command that waits, a probe, and a thaw file for another generation: none may stir it.
  const waiting = world.hub().command('a', { type: 'inspect', claim: '' });
  thaw(at, 6);
  // Not refused: the kubelet would take the pod out of its Services.
  const probe = health('/ready');
  await pause(500);
  expect(ticks(at)).toBe(before);
  expect(existsSync(join(at.runDir, 'frozen'))).toBe(true);
  thaw(at, 7);
  expect(await waiting).toMatchObject({ delivered: 7 });
  expect(existsSync(join(at.runDir, 'frozen'))).toBe(false);
  await until('it ticks again', () => ticks(at) > before);
  expect(await probe).toBe('503 mute');
  expect(world.hub().session('a')).toMatchObject({ state: 'mute', claim: CLAIM });
  // The cut was made: the freeze repeated by a new leader does not wait for another thaw.
  await world.hub().command('a', { type: 'freeze', claim: CLAIM, generation: 7, deadlineMs: 20_000 });
  await world.hub().command('a', { type: 'unmute', claim: CLAIM });
  expect(await health('/ready')).toBe('200 idle');
  expect(calls(at)).toEqual(['start', 'mute', 'unmute']);
  for (const file of ['mute', 'frozen', 'thaw']) expect(existsSync(join(at.runDir, file))).toBe(false);
});

test('woken under another uid it is the copy: another token, mute on disk, and dials at once', async () => {
  const { at, health, child } = await frozen(20_000);
  const dials = world.wire.accepted();
  // Longer than a handshake may take: no timer may fire for the time it stood still.
  await pause(1300);
  const source = world.hub().session('a')?.process;
  for (const file of ['uid', 'token']) {
    const path = join(at.idDir, file);
    writeFileSync(path, readFileSync(path, 'utf8').replace(/a\n$/, 'b\n'));
  }
  const woken = performance.now();
  thaw(at, 7);
  await world.connected('b');
  const ms = performance.now() - woken;
  expect(ms).toBeLessThan(1000);
  expect(world.wire.accepted()).toBe(dials + 1);
  expect(world.hub().session('b')).toEqual({
    protocol: PROTOCOL,
    state: 'copy',
    claim: CLAIM,
    process: source,
    version: expect.any(String),
  });
  await until('the old connection is gone', () => world.hub().session('a') === undefined);
  expect(calls(at)).toEqual(['start', 'mute', 'becomeCopy']);
  expect(await health('/ready')).toBe('503 copy');
  await world.hub().command('b', { type: 'attach', claim: CLAIM, timeoutMs: 1000 });
  expect(JSON.parse(readFileSync(join(at.runDir, 'mute'), 'utf8'))).toEqual({ podUid: 'b', claim: CLAIM });
  // Its sidecar dying before the commit may not give the copy a voice (invariant 4).
  child.kill('SIGKILL');
  await until('gone', () => world.hub().session('b') === undefined);
  launch(at);
  await world.connected('b');
  expect(world.hub().session('b')).toMatchObject({ state: 'mute', claim: CLAIM, lost: expect.any(String) });
  await expect(world.hub().command('b', { type: 'attach', claim: CLAIM, timeoutMs: 1000 })).rejects.toMatchObject({
    code: 'SHADOW_E_ATTACH',
  });
  expect(calls(at)).toEqual(['start', 'mute', 'becomeCopy', 'attach']);
  // Committed nevertheless (it died in just that window): it serves.
  await world.hub().command('b', { type: 'live', claim: CLAIM });
  expect(calls(at).at(-1)).toBe('start');
  expect(existsSync(join(at.runDir, 'mute'))).toBe(false);
});

test('without a thaw it wakes at its deadline, not before, and is still mute', async () => {
  const { at } = await frozen(700);
  const began = performance.now();
  await world.hub().command('a', { type: 'inspect', claim: '' });
  expect(performance.now() - began).toBeGreaterThan(600);
  expect(existsSync(join(at.runDir, 'frozen'))).toBe(false);
  expect(world.hub().session('a')).toMatchObject({ state: 'mute' });
  expect(calls(at)).toEqual(['start', 'mute']);
});

test('mute survives kill -9: it does not listen again until told to; superseded it has nothing left', async () => {
  const at = world.pod('a');
  const first = launch(at);
  await world.connected('a');
  await world.hub().command('a', { type: 'mute', claim: CLAIM, timeoutMs: 1000 });
  first.child.kill('SIGKILL');
  await until('gone', () => world.hub().session('a') === undefined);

  const second = launch(at);
  await world.connected('a');
  expect(world.hub().session('a')).toMatchObject({ state: 'mute', claim: CLAIM });
  expect(calls(at)).toEqual(['start', 'mute']);
  expect(await second.health('/started')).toBe('200 ok');
  expect(await second.health('/ready')).toBe('503 mute');
  expect(await world.hub().command('a', { type: 'supersede', claim: CLAIM })).toEqual({ outstanding: 0 });
  expect(world.hub().session('a')).toMatchObject({ state: 'closed', outstanding: 0 });
  second.child.kill('SIGTERM');
  expect(await second.exited).toBe(0);
  expect(calls(at)).toEqual(['start', 'mute', 'stop now']);

  launch(at);
  await world.connected('a');
  await world.hub().command('a', { type: 'unmute', claim: CLAIM });
  expect(calls(at).at(-1)).toBe('start');
  expect(existsSync(join(at.runDir, 'mute'))).toBe(false);
});

test("another pod's marker is removed; without controller or CA the sidecar relays and ends gently", async () => {
  await world.stopHub();
  const at = world.pod('a');
  writeFileSync(join(at.runDir, 'mute'), JSON.stringify({ podUid: 'z', claim: CLAIM }));
  writeFileSync(join(at.idDir, 'ca.crt'), '');
  const { health, child, exited } = launch(at);
  await until('started', () => existsSync(join(at.runDir, 'calls')));
  await pause(300);
  expect(await health('/ready')).toBe('200 idle');
  expect(await health('/metrics')).toMatch(/shadow_sidecar_delivered_total 7/);
  expect(await health('/metrics')).toMatch(
    /shadow_sidecar_severed 1\n.*losses_hidden_total 5\n.*losses_given_up_total 2\n/s,
  );
  expect(existsSync(join(at.runDir, 'mute'))).toBe(false);
  child.kill('SIGTERM');
  expect(await exited).toBe(0);
  expect(calls(at)).toEqual(['start', 'stop gently']);
});
