/** When a copy's loopback is closed and opened, by the real runc and CRIU: a runc before which, and after which, the test may dwell. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Calls } from '../../webhook/agent/calls.ts';
import { thaw } from '../../webhook/agent/volumes.ts';
import { claimOf, SIDECAR } from '../../webhook/api/names.ts';
import { agentOn, CONTAINERS, rulesIn } from './agents.ts';
import { ask, HANDLER, Lab, sh, stateOf, type TestContainer, type TestNode, type TestPod, until } from './harness.ts';
import { APP, SIDECAR_APP } from './programs.ts';

const CLOSED = 'iifname "lo" meta l4proto tcp drop';

let lab: Lab;
let on: TestNode;
let agent: Calls;
let claim: { claim: string; epoch: number };
let claims = 0;

beforeEach(() => {
  lab = new Lab();
  on = lab.node('a');
  agent = agentOn(on);
  claim = { claim: claimOf('0a0a0a0a-2222', claims++), epoch: 1 };
  mkdirSync(gate());
  // Restores the app only at `go`, and does not return before `end`. Nobody dwells longer than the lab is there.
  writeFileSync(
    gate('runc'),
    `#!/bin/sh
case "$*" in *' restore '*/app/checkpoint*) ;; *) exec runc "$@" ;; esac
until_there() { while [ -d ${gate()} ] && [ ! -e ${gate()}/$1 ]; do sleep 0.02; done; }
echo $$ >${gate('before.new')} && mv ${gate('before.new')} ${gate('before')}
until_there go
runc "$@" || exit 1
: >${gate('after')}
until_there end
`,
  );
  chmodSync(gate('runc'), 0o755);
});
afterEach(() => lab.close());

const gate = (name = ''): string => join(lab.base, 'gate', name);
const pass = (name: 'go' | 'end'): void => writeFileSync(gate(name), '');
const staged = (path: string): string => join(on.layout.staged, claim.claim, path);

interface Copy {
  pod: TestPod;
  app: TestContainer;
  /** The exit statuses of the sidecar's create and start and the app's create. */
  up: Promise<number[]>;
}

const copyOf = (env: Record<string, string>): Copy => {
  const pod = lab.pod(on, 'consumer-0-shadow');
  const annotations = { 'shadow.ms2m.io/restore': claim.claim };
  const sidecar = lab.container(on, pod, SIDECAR.container, SIDECAR_APP, annotations);
  const app = lab.container(on, pod, 'app', APP, annotations);
  const up = (async () => [
    await lab.oci(on, HANDLER, 'create', sidecar, 90, env),
    await lab.oci(on, HANDLER, 'start', sidecar),
    await lab.oci(on, HANDLER, 'create', app, 90, env),
  ])();
  return { pod, app, up };
};

const dwelling = (): Record<string, string> => ({ SHADOW_RUNC: gate('runc'), SHADOW_RESTORE: '60' });

/** A source cut, and its copy on the way to be restored. `spoil` is called before any of it is. */
const cut = async (env = dwelling(), spoil = () => {}): Promise<{ copy: Copy; restored: Promise<unknown> }> => {
  const { pod } = await lab.source(on);
  await until(async () => (await stateOf(pod)).echoed > 20);
  await agent.prepare({
    ...{ ...claim, containers: CONTAINERS, images: [] },
    copy: { namespace: 'default', name: 'consumer-0-shadow' },
  });
  const copy = copyOf(env);
  await ask(pod, '/?freeze=1');
  await until(() => existsSync(join(lab.volume(on, pod.uid, SIDECAR.runVolume), 'frozen')));
  await agent.cut({
    ...{ ...claim, pod, podIP: pod.ip, containers: CONTAINERS },
    ...{ freezeGeneration: 1, driver: 'runc', resume: false },
  });
  await agent.send({ ...claim, pod, target: { url: '', node: on.node.name } });
  spoil();
  const restored = agent.restore({
    ...{ ...claim, copy: copy.pod, oldIP: pod.ip },
    ...{ freezeGeneration: 1, timeoutMs: 60_000 },
  });
  restored.catch(() => {});
  return { copy, restored };
};

/** The sidecar's end of the loopback connection: its state, and what it has sent that nobody has acknowledged. */
const sidecarEnd = (pod: TestPod): { state: string; unacknowledged: number } => {
  const [state = '', , sent] = sh(`nsenter --net=${pod.netns} ss -Htan sport = 5672`)
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .find(([state]) => state !== 'LISTEN') ?? [''];
  return { state, unacknowledged: Number(sent ?? 0) };
};

const textOf = (path: string): string => {
  try {
    return readFileSync(path, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
};
const networkOf = (pid: string): string => {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return '';
  }
};
/** All that is about the app's create, or in the copy's network and none of its containers; the caller of the create waits for its streams' end. */
const leftOf = ({ pod, app }: Copy): string[] => {
  const network = `net:[${statSync(pod.netns).ino}]`;
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .map((pid) => ({ args: textOf(`/proc/${pid}/cmdline`), inside: networkOf(pid) === network }))
    .filter(({ args, inside }) => args.includes(app.id) || (inside && !args.startsWith('/usr/bin/node')))
    .map(({ args }) => args);
};

test('closed until the last socket is there, so that no peer is reset; open before the last restore has returned', async () => {
  const { copy, restored } = await cut();
  await until(() => existsSync(gate('before')));
  // The sidecar has all to itself: it answers what it had received, and the app's socket is not there.
  await thaw(on.node, copy.pod.uid, 1);
  await until(() => sidecarEnd(copy.pod).unacknowledged > 0);
  await sleep(300);
  expect(sidecarEnd(copy.pod)).toMatchObject({ state: 'ESTAB' });
  expect(rulesIn(copy.pod)).toContain(CLOSED);

  pass('go');
  await until(() => existsSync(gate('after')));
  const first = await stateOf(copy.pod);
  await until(async () => (await stateOf(copy.pod)).echoed > first.sent);
  expect(await stateOf(copy.pod)).toMatchObject({ bad: 0, closed: 'no' });
  expect(existsSync(join(copy.app.bundle, 'create.status'))).toBe(false);
  // Nothing but loopback is open: the old address still does not leave.
  expect(rulesIn(copy.pod)).not.toContain(CLOSED);
  expect(rulesIn(copy.pod)).toMatch(/ip saddr [\d.]+ oifname != "lo" drop/);
  expect(rulesIn(copy.pod)).toContain('table inet shadow_fence');

  pass('end');
  expect(await copy.up).toEqual([0, 0, 0]);
  await restored;
  expect(rulesIn(copy.pod)).not.toContain('shadow_restore');
});

test('a restore that fails leaves nobody waiting to open it, and no stream open', async () => {
  const { copy, restored } = await cut({}, () => {
    const pages = staged('app/checkpoint/pages-1.img');
    truncateSync(pages, statSync(pages).size >> 1);
  });
  await expect(restored).rejects.toMatchObject({ code: 'SHADOW_E_RESTORE' });
  expect((await copy.up).at(-1)).toBe(1);
  await until(() => leftOf(copy).length === 0, 2000);
});

test('a handler that is killed leaves nobody waiting to open it, and no stream open', async () => {
  const { copy } = await cut();
  await until(() => existsSync(gate('before')));
  await until(() => leftOf(copy).some((args) => args.startsWith('nft')));
  const handler = Number(textOf(staged('waiting/app')));
  process.kill(handler, 'SIGKILL');
  process.kill(Number(textOf(gate('before'))), 'SIGKILL');
  expect((await copy.up).at(-1)).not.toBe(0);
  await until(() => leftOf(copy).length === 0, 2000);
  expect(rulesIn(copy.pod)).toContain(CLOSED);
  await agent.cancel(claim);
});
