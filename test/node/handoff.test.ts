import { existsSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Calls } from '../../webhook/agent/calls.ts';
import { recoverCuts } from '../../webhook/agent/cut.ts';
import { claimOf, SIDECAR } from '../../webhook/api/names.ts';
import { agentOn, CONTAINERS, rulesIn } from './agents.ts';
import { ask, HANDLER, Lab, sh, stateOf, type TestContainer, type TestNode, type TestPod, until } from './harness.ts';
import { APP, SIDECAR_APP } from './programs.ts';

let lab: Lab;
let on: TestNode;
let agent: Calls;
let outside: Server;
let heard: Map<string, { bytes: number; ended: string }>;
let sockets: Set<Socket>;
let claimNumber = 0;

beforeAll(async () => {
  heard = new Map();
  sockets = new Set();
  // The peer outside: says something now and then, and notes how each connection ends.
  outside = createServer((socket) => {
    const from = socket.remoteAddress?.replace('::ffff:', '') ?? '';
    const note = { bytes: 0, ended: '' };
    heard.set(from, note);
    sockets.add(socket);
    socket.on('data', (data) => {
      note.bytes += data.length;
    });
    socket.on('error', (error) => {
      note.ended += error.message;
    });
    socket.on('close', () => {
      note.ended += 'close';
      sockets.delete(socket);
    });
  });
  await new Promise<void>((resolve) => outside.listen(7777, '0.0.0.0', resolve));
});
afterAll(() => {
  for (const socket of sockets) socket.destroy();
  outside.close();
});

const fresh = (): void => {
  lab = new Lab();
  on = lab.node('a');
  agent = agentOn(on);
};
afterEach(() => lab?.close());

const newClaim = (): { claim: string; epoch: number } => ({ claim: claimOf('0f0f0f0f-1111', claimNumber++), epoch: 1 });

const freeze = async (pod: TestPod, generation: number): Promise<void> => {
  await ask(pod, `/?freeze=${generation}`);
  const frozen = join(lab.volume(on, pod.uid, SIDECAR.runVolume), 'frozen');
  await until(() => existsSync(frozen));
};

const cutOf = (pod: TestPod, claim: { claim: string; epoch: number }, freezeGeneration: number) =>
  ({ ...claim, pod, podIP: pod.ip, containers: CONTAINERS, freezeGeneration, driver: 'runc' }) as const;

interface Copy {
  pod: TestPod;
  sidecar: TestContainer;
  app: TestContainer;
  /** Both creates, one after the other as the kubelet does it; each started when created. */
  up: Promise<number[]>;
}

const copyOf = (claim: string, name: string, options: { wait?: number; restore?: string } = {}): Copy => {
  const pod = lab.pod(on, name);
  const annotations = { 'shadow.ms2m.io/restore': options.restore ?? claim };
  const sidecar = lab.container(on, pod, SIDECAR.container, SIDECAR_APP, annotations);
  const app = lab.container(on, pod, 'app', APP, annotations);
  const up = (async () => {
    const statuses: number[] = [];
    for (const container of [sidecar, app]) {
      const status = await lab.oci(on, HANDLER, 'create', container, options.wait);
      statuses.push(status);
      if (status !== 0) return statuses;
      statuses.push(await lab.oci(on, HANDLER, 'start', container));
    }
    return statuses;
  })();
  return { pod, sidecar, app, up };
};

const prepareCopy = async (
  claim: { claim: string; epoch: number },
  name = 'consumer-0-shadow',
  restore?: string,
  fence?: false,
) => {
  const open = fence === undefined ? {} : { fence };
  await agent.prepare({ ...claim, ...open, copy: { namespace: 'default', name }, containers: CONTAINERS, images: [] });
  const copy = copyOf(claim.claim, name, restore === undefined ? {} : { restore });
  return copy;
};

/** Whether a process in the pod's network gets a connection to the peer outside. */
const dialOut = (pod: TestPod): string =>
  sh(`nsenter --net=${pod.netns} timeout 1 bash -c ': </dev/tcp/${pod.gateway}/7777' && echo out || echo kept`).trim();

const addressesIn = (pod: TestPod): string => sh(`nsenter --net=${pod.netns} ip -o addr show dev lo`);

/** Scheduling policies of all threads of a container's processes (proc(5), stat field 41): 0 is the ordinary one. */
const policiesOf = ({ id }: TestContainer): Set<string> => {
  const state = JSON.parse(readFileSync(join(on.layout.runcRoot, id, 'state.json'), 'utf8'));
  const tasks = `/proc/${state.init_process_pid}/task`;
  const stats = readdirSync(tasks).map((task) => readFileSync(join(tasks, task, 'stat'), 'utf8'));
  return new Set(stats.map((stat) => stat.slice(stat.lastIndexOf(')') + 2).split(' ')[38] ?? ''));
};

/** The road up to a restored copy, its source paused, or going on. */
const handoff = async (pod: TestPod, generation = 1, name?: string, resume = false, fence?: false) => {
  const claim = newClaim();
  const copy = await prepareCopy(claim, name, undefined, fence);
  await until(async () => (await agent.waiting(claim)).waiting);
  await agent.arm({ ...cutOf(pod, claim, generation) });
  await freeze(pod, generation);
  const cut = await agent.cut({ ...cutOf(pod, claim, generation), resume });
  const sent = await agent.send({ ...claim, pod, target: { url: '', node: on.node.name } });
  const restored = await agent.restore({
    ...claim,
    copy: copy.pod,
    oldIP: pod.ip,
    freezeGeneration: generation,
    timeoutMs: 20_000,
  });
  return { claim, copy, cut, sent, restored };
};

describe('a pod of a sidecar and an app, cut and restored by the real runc and CRIU', () => {
  test('the loopback connection lives on, the source keeps its own connections, nothing is left', async () => {
    fresh();
    const { pod, sidecar, app } = await lab.source(on);
    await until(async () => (await stateOf(pod)).echoed > 20);
    expect((await stateOf(pod)).external).toBe('connected ');

    const { claim, copy, cut, sent, restored } = await handoff(pod);
    console.log('timings', { cut, sent, restored });
    expect(await copy.up).toEqual([0, 0, 0, 0]);
    expect(restored.containers.map(({ id }) => id)).toEqual([copy.sidecar.id, copy.app.id]);
    const first = await stateOf(copy.pod);
    await until(async () => (await stateOf(copy.pod)).echoed > first.echoed + 20);
    const state = await stateOf(copy.pod);
    expect(state).toMatchObject({ bad: 0, closed: 'no' });
    expect(state.files).toEqual({ data: 'link,new', again: 'fresh', tmp: 'kept,open' });
    // Dumped in a hurry, nobody is in a hurry himself.
    expect(await on.node.canHurry()).toBe(true);
    for (const container of [sidecar, app, copy.sidecar, copy.app])
      expect(policiesOf(container)).toEqual(new Set(['0']));
    // Its outside connection was the source's: ended here, alive there.
    expect(state.external).toMatch(/^connected E/);
    expect(heard.get(pod.ip)?.ended).toBe('');

    // Copy: fenced until the commit, no lock, no address. Source: paused and fenced.
    expect(rulesIn(copy.pod)).toContain('table inet shadow_fence');
    expect(rulesIn(copy.pod)).not.toContain('shadow_restore');
    expect(addressesIn(copy.pod)).not.toContain(pod.ip);
    await expect(stateOf(pod)).rejects.toThrow();
    expect(await ask(pod, '/healthz')).toMatch(/\d/);

    await agent.unfence({ ...claim, pod: copy.pod });
    expect(rulesIn(copy.pod)).toBe('');
    await agent.kill({ ...claim, pod, containers: CONTAINERS });
    await until(() => heard.get(pod.ip)?.ended !== '');
    await agent.clean(claim);
    expect(readdirSync(on.layout.staged)).toEqual([]);
    expect(readdirSync(on.layout.checkpoints)).toEqual([]);
    expect(readdirSync(on.layout.epochs)).toEqual([]);
    expect(readdirSync(join(on.layout.taken, copy.pod.uid)).sort()).toEqual(['app', SIDECAR.container]);
  });

  test('a source that goes on serves beside its copy; fenced it still answers, and nothing else of it gets out', async () => {
    fresh();
    const { pod } = await lab.source(on);
    await until(async () => (await stateOf(pod)).echoed > 20);
    const { claim, copy, cut } = await handoff(pod, 1, undefined, true);
    console.log('pause of a source that goes on', cut);
    for (const one of [pod, copy.pod]) {
      const before = await stateOf(one);
      await until(async () => (await stateOf(one)).echoed > before.echoed + 20);
      expect(await stateOf(one)).toMatchObject({ bad: 0, closed: 'no' });
    }
    expect((await stateOf(pod)).external).toBe('connected ');
    expect(heard.get(pod.ip)?.ended).toBe('');
    expect(rulesIn(copy.pod)).toContain('table inet shadow_fence');
    // It is not fenced; that its connections are tracked changes none of them.
    expect(rulesIn(pod).match(/table inet \w+/g)).toEqual(['table inet shadow_track']);

    const dial = () => dialOut(pod);
    expect(dialOut(copy.pod)).toBe('kept');
    expect(dial()).toBe('out');
    await agent.fence({ ...claim, pod });
    await agent.fence({ ...claim, pod });
    expect(dial()).toBe('kept');
    const answered = await stateOf(pod);
    await until(async () => (await stateOf(pod)).echoed > answered.echoed + 20);
    // An abort: the source is as it was.
    await agent.resume({ ...claim, pod, containers: CONTAINERS });
    expect(dial()).toBe('out');
    expect(rulesIn(pod)).toBe('');
  });

  test('a copy whose calls may be made twice is not fenced, and the source keeps its own connections all the same', async () => {
    fresh();
    const { pod } = await lab.source(on);
    await until(async () => (await stateOf(pod)).echoed > 20);
    const { copy } = await handoff(pod, 1, undefined, true, false);
    expect(rulesIn(copy.pod)).toBe('');
    expect(dialOut(copy.pod)).toBe('out');
    expect((await stateOf(copy.pod)).external).toMatch(/^connected E/);
    expect((await stateOf(pod)).external).toBe('connected ');
    expect(heard.get(pod.ip)?.ended).toBe('');
  });

  test('a restored pod can be moved again; a later crash of its container starts it fresh', async () => {
    fresh();
    const { pod } = await lab.source(on);
    const one = await handoff(pod, 1);
    await agent.unfence({ ...one.claim, pod: one.copy.pod });
    await until(async () => (await stateOf(one.copy.pod)).echoed > 20);
    const two = await handoff(one.copy.pod, 2, 'consumer-0');
    await agent.clean(two.claim);
    const first = await stateOf(two.copy.pod);
    await until(async () => (await stateOf(two.copy.pod)).echoed > first.echoed + 20);
    expect(await stateOf(two.copy.pod)).toMatchObject({ bad: 0, closed: 'no' });

    sh(`runc --root ${on.layout.runcRoot} delete --force ${two.copy.app.id}`);
    const again = lab.container(on, two.copy.pod, 'app', APP, { 'shadow.ms2m.io/restore': two.claim.claim });
    expect(await lab.oci(on, HANDLER, 'create', again)).toBe(0);
    expect(await lab.oci(on, HANDLER, 'start', again)).toBe(0);
    await until(() =>
      stateOf(two.copy.pod).then(
        ({ sent }) => sent < first.sent,
        () => false,
      ),
    );
  });

  test('a sidecar that is not frozen, a dump that fails: the source goes on, and the next cut succeeds', async () => {
    fresh();
    const { pod } = await lab.source(on);
    const claim = newClaim();
    await expect(agent.cut(cutOf(pod, claim, 1))).rejects.toMatchObject({ code: 'SHADOW_E_FREEZE', retryable: true });
    const goesOn = async (): Promise<void> => {
      const before = await stateOf(pod);
      await until(async () => (await stateOf(pod)).echoed > before.echoed + 10);
      expect(await stateOf(pod)).toMatchObject({ bad: 0, closed: 'no', external: 'connected ' });
      expect(rulesIn(pod)).toBe('');
      expect(readdirSync(on.layout.checkpoints)).toEqual([]);
    };
    await goesOn();

    // A real refusal by CRIU.
    await ask(pod, '/state?ghost=1');
    await freeze(pod, 2);
    const refusal = agent.cut(cutOf(pod, claim, 2));
    await expect(refusal).rejects.toMatchObject({ code: 'SHADOW_E_CHECKPOINT' });
    await expect(refusal).rejects.toThrow(/container app: .*Error \(criu/);
    await goesOn();
    await ask(pod, '/state?ghost=0');
    await freeze(pod, 3);
    const done = await agent.cut(cutOf(pod, claim, 3));
    expect(await agent.cut(cutOf(pod, claim, 3))).toEqual(done);
    await agent.resume({ ...claim, pod, containers: CONTAINERS });
    await until(async () => (await stateOf(pod)).bad === 0);
    expect(rulesIn(pod)).toBe('');
  });

  test('armed: the app goes on untouched, once and again; a cut made is not undone by it; dropped, no tool is left', async () => {
    fresh();
    const { pod } = await lab.source(on);
    const claim = newClaim();
    const request = { ...cutOf(pod, claim, 1), resume: true };
    const started = (id: string): string[] =>
      sh(`ps -eo args | grep -E '^runc .*[c]heckpoint.*${id}' || true`).split('\n').filter(Boolean);
    await agent.arm(request);
    await agent.arm(request);
    expect(started(claim.claim)).toHaveLength(2);
    const before = await stateOf(pod);
    await until(async () => (await stateOf(pod)).echoed > before.echoed + 20);

    await freeze(pod, 1);
    await agent.cut(request);
    expect(started(claim.claim)).toEqual([]);
    const images = join(on.layout.checkpoints, claim.claim, 'images/app/checkpoint');
    const made = readdirSync(images);
    expect(made.length).toBeGreaterThan(10);
    await agent.arm(request);
    expect(readdirSync(images)).toEqual(made);

    const other = newClaim();
    await agent.arm({ ...cutOf(pod, other, 2) });
    expect(started(other.claim)).toHaveLength(2);
    await agent.clean(other);
    expect(started(other.claim)).toEqual([]);
    expect(existsSync(join(on.layout.checkpoints, other.claim))).toBe(false);
    expect(await stateOf(pod)).toMatchObject({ bad: 0, closed: 'no' });
  });

  test('without a gate nothing is dumped before the cut, and all of it then', async () => {
    fresh();
    const { pod } = await lab.source(on);
    rmSync(join(on.layout.bin, 'gate'), { recursive: true });
    const claim = newClaim();
    const request = { ...cutOf(pod, claim, 1), resume: true };
    await agent.arm(request);
    const images = join(on.layout.checkpoints, claim.claim, 'images/app/checkpoint');
    expect(readdirSync(images)).toEqual([]);
    expect(existsSync(join(on.layout.checkpoints, claim.claim, 'work/app/dump.log'))).toBe(false);
    await freeze(pod, 1);
    await agent.cut(request);
    expect(readdirSync(images)).toContain('inventory.img');
  });

  test('an agent that dies within a cut finds the pod standing still and sets it going', async () => {
    fresh();
    const { pod } = await lab.source(on);
    const claim = newClaim();
    await freeze(pod, 1);
    await agent.cut(cutOf(pod, claim, 1));
    // As the record was before the result was written.
    const record = join(on.layout.checkpoints, claim.claim, 'cut.json');
    const { result: _, ...unfinished } = JSON.parse(readFileSync(record, 'utf8'));
    writeFileSync(record, JSON.stringify(unfinished));
    expect(await recoverCuts(on.node)).toEqual([claim.claim]);
    const before = await stateOf(pod);
    await until(async () => (await stateOf(pod)).echoed > before.echoed + 10);
    expect(rulesIn(pod)).toBe('');
    expect(readdirSync(on.layout.checkpoints)).toEqual([]);
  });

  test('a truncated checkpoint fails the restore with its reason, never starts fresh, and the source resumes', async () => {
    fresh();
    const { pod } = await lab.source(on);
    const claim = newClaim();
    const copy = await prepareCopy(claim);
    await freeze(pod, 1);
    await agent.cut(cutOf(pod, claim, 1));
    await agent.send({ ...claim, pod, target: { url: '', node: on.node.name } });
    const pages = join(on.layout.staged, claim.claim, 'app/checkpoint/pages-1.img');
    truncateSync(pages, statSync(pages).size >> 1);
    const restoring = agent.restore({
      ...claim,
      copy: copy.pod,
      oldIP: pod.ip,
      freezeGeneration: 1,
      timeoutMs: 20_000,
    });
    await expect(restoring).rejects.toMatchObject({ code: 'SHADOW_E_RESTORE' });
    await expect(restoring).rejects.toThrow(/container app: ./);
    const statuses = await copy.up;
    expect(statuses.at(-1)).not.toBe(0);
    expect(lab.log(copy.app)).toMatch(/"level":"error","msg":"shadow: container app could not be restored/);
    expect(existsSync(join(on.layout.taken, copy.pod.uid, 'app'))).toBe(false);
    expect(await lab.oci(on, HANDLER, 'create', copy.app)).not.toBe(0);
    await until(() => sh(`grep -ls ${copy.app.id} /proc/[0-9]*/cgroup || true`) === '');
    expect(rulesIn(copy.pod)).not.toContain('shadow_restore');
    expect(addressesIn(copy.pod)).not.toContain(pod.ip);

    await agent.cancel(claim);
    await agent.resume({ ...claim, pod, containers: CONTAINERS });
    await agent.clean(claim);
    const before = await stateOf(pod);
    await until(async () => (await stateOf(pod)).echoed > before.echoed + 10);
    expect(await stateOf(pod)).toMatchObject({ bad: 0, closed: 'no', external: 'connected ' });
    expect(heard.get(pod.ip)?.ended).toBe('');
    expect(rulesIn(pod)).toBe('');
  });
});

describe('the handler refuses', () => {
  const refused = async (create: Promise<number[]>, container: TestContainer, reason: RegExp): Promise<void> => {
    expect(await create).toEqual([1]);
    expect(lab.log(container)).toMatch(reason);
  };

  test('at CANCEL: the wait ends at once and the create fails', async () => {
    fresh();
    const claim = newClaim();
    const copy = await prepareCopy(claim);
    await until(async () => (await agent.waiting(claim)).waiting);
    await agent.cancel(claim);
    await refused(copy.up, copy.sidecar, /"msg":"shadow: the migration was aborted/);
    expect(await agent.waiting(claim)).toEqual({ waiting: false });
  });

  test("forged and foreign claims: another pod's, none staged, not a claim, a path", async () => {
    fresh();
    const claim = newClaim();
    await agent.prepare({ ...claim, copy: { namespace: 'default', name: 'x' }, containers: CONTAINERS, images: [] });
    for (const [restore, reason] of [
      [claim.claim, /is for pod default\/x, not default\/thief/],
      ['0f0f-7', /no checkpoint is staged/],
      ['../../etc', /not one of ours/],
      ['a"b', /not one of ours/],
    ] as const) {
      const copy = copyOf(claim.claim, 'thief', { restore });
      await refused(copy.up, copy.sidecar, reason);
    }
  });

  test('a second pod of the same name: the checkpoint is for one uid, once', async () => {
    fresh();
    const { pod } = await lab.source(on);
    const { claim, copy } = await handoff(pod);
    await copy.up;
    const second = copyOf(claim.claim, copy.pod.name);
    await refused(second.up, second.sidecar, /is for the pod with uid/);
  });

  test('to wait longer than its bound', async () => {
    fresh();
    const claim = newClaim();
    await agent.prepare({ ...claim, copy: { namespace: 'default', name: 'late' }, containers: CONTAINERS, images: [] });
    const copy = copyOf(claim.claim, 'late', { wait: 1 });
    await refused(copy.up, copy.sidecar, /no checkpoint came within 1 s/);
  });

  test('nothing of a pod without a claim', async () => {
    fresh();
    const pod = lab.pod(on, 'plain');
    const sidecar = lab.container(on, pod, SIDECAR.container, SIDECAR_APP);
    expect(await lab.oci(on, HANDLER, 'create', sidecar)).toBe(0);
    expect(await lab.oci(on, HANDLER, 'start', sidecar)).toBe(0);
    await until(() => ask(pod, '/healthz').then(Boolean, () => false));
    expect(rulesIn(pod)).toBe('');
  });
});

describe('a pod without the sidecar', () => {
  const APPS = [{ name: 'app', sidecar: false }];

  test.each([false, true])(
    'is cut as it is, restored, and its connection to the outside ends in the copy alone; going on meanwhile: %s',
    async (resume) => {
      fresh();
      const pod = lab.pod(on, 'bare-0');
      const app = lab.container(on, pod, 'app', APP);
      for (const verb of ['create', 'start'] as const) expect(await lab.oci(on, 'runc', verb, app)).toBe(0);
      await until(() => ask(pod, '/state').then(Boolean, () => false));
      await until(async () => (await stateOf(pod)).external === 'connected ');
      const claim = newClaim();
      await agent.prepare({
        ...{ ...claim, containers: APPS, images: [], fence: !resume },
        copy: { namespace: 'default', name: 'bare-0-shadow' },
      });
      const copy = lab.pod(on, 'bare-0-shadow');
      const container = lab.container(on, copy, 'app', APP, { 'shadow.ms2m.io/restore': claim.claim });
      const up = lab.oci(on, HANDLER, 'create', container);
      await until(async () => (await agent.waiting(claim)).waiting);
      const request = { ...cutOf(pod, claim, 1), containers: APPS };
      await agent.arm(request);
      await agent.cut({ ...request, resume });
      await agent.send({ ...claim, pod, target: { url: '', node: on.node.name } });
      const asked = { ...claim, copy, oldIP: pod.ip, freezeGeneration: 1, timeoutMs: 20_000 };
      const restored = resume ? { ...asked, hostname: copy.name } : asked;
      expect((await agent.restore(restored)).containers).toEqual([{ name: 'app', id: container.id }]);
      expect(await up).toBe(0);
      const pid = readFileSync(join(container.bundle, 'init.pid'), 'utf8');
      expect(sh(`nsenter --target ${pid} --uts hostname`).trim()).toBe(resume ? 'bare-0-shadow' : 'bare-0');
      await until(async () => /^connected E/.test((await stateOf(copy)).external));
      expect(heard.get(pod.ip)?.ended).toBe('');
      expect(rulesIn(copy).includes('shadow_fence')).toBe(!resume);
      expect(rulesIn(pod).includes('shadow_fence')).toBe(!resume);
      if (resume) expect((await stateOf(pod)).external).toBe('connected ');
    },
  );
});
