/** Two agents on temporary directories, speaking mTLS over loopback; no tool of a node runs. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import forge from 'node-forge';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { filesIn, packed } from '../../../webhook/agent/archive.ts';
import { type Calls, calls } from '../../../webhook/agent/calls.ts';
import type { Driver } from '../../../webhook/agent/drivers.ts';
import { ownPages } from '../../../webhook/agent/memory.ts';
import { LAYOUT, type Node, nodeOf } from '../../../webhook/agent/node.ts';
import { agentServer } from '../../../webhook/agent/server.ts';
import { collectGarbage } from '../../../webhook/agent/start.ts';
import type { Credentials } from '../../../webhook/agent/tls.ts';

const authority = () => {
  const keys = forge.pki.rsa.generateKeyPair(2048);
  const sign = (cn: string, own = forge.pki.rsa.generateKeyPair(2048)): Credentials => {
    const certificate = forge.pki.createCertificate();
    certificate.publicKey = own.publicKey;
    certificate.serialNumber = `01${randomBytes(8).toString('hex')}`;
    certificate.validity.notAfter = new Date(Date.now() + 3_600_000);
    certificate.validity.notBefore = new Date(Date.now() - 60_000);
    certificate.setSubject([{ name: 'commonName', value: cn }]);
    certificate.setIssuer([{ name: 'commonName', value: 'ca' }]);
    certificate.setExtensions(
      cn === 'ca'
        ? [{ name: 'basicConstraints', cA: true }]
        : [{ name: 'subjectAltName', altNames: [{ type: 2, value: cn }] }],
    );
    certificate.sign(keys.privateKey, forge.md.sha256.create());
    const pem = forge.pki.certificateToPem(certificate);
    return { cert: pem, key: forge.pki.privateKeyToPem(own.privateKey), ca: ca === '' ? pem : ca };
  };
  let ca = '';
  ca = sign('ca', keys).cert;
  return sign;
};

let base: string;
let sign: (cn: string) => Credentials;
let own: Credentials;
beforeAll(() => {
  sign = authority();
  own = sign('shadow-agent');
});

const nodeIn = (name: string): Node => {
  const under = (path: string) => join(base, name, path);
  const layout = {
    ...LAYOUT,
    ...{
      root: '',
      staged: under('staged'),
      checkpoints: under('checkpoints'),
      taken: under('taken'),
      epochs: under('epochs'),
    },
    ...{ kubelet: under('kubelet'), tasks: under('tasks'), runcRoot: under('runc') },
  };
  for (const directory of [
    layout.staged,
    layout.checkpoints,
    layout.taken,
    layout.epochs,
    join(layout.kubelet, 'pods'),
  ])
    mkdirSync(directory, { recursive: true });
  return nodeOf(name, layout, []);
};
const none: Driver = { paused: true, arm: () => Promise.reject(new Error('no dump in this test')) };
const agentOf = (node: Node): Calls =>
  calls({
    node,
    drivers: { runc: none, kubelet: none },
    credentials: () => own,
    checkpointApi: async () => '',
    warn: () => undefined,
  });

let source: Node;
let target: Node;
let server: ReturnType<typeof agentServer>;
let url: string;
beforeEach(async () => {
  base = mkdtempSync(join(tmpdir(), 'agents-'));
  source = nodeIn('source');
  target = nodeIn('target');
  server = agentServer(agentOf(target), own, () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
  rmSync(base, { recursive: true, force: true });
});

const CLAIM = 'abc-0';
const claimed = { claim: CLAIM, epoch: 3 };
const pod = { namespace: 'n', name: 'p', uid: 'u' };
const prepared = {
  ...claimed,
  copy: { namespace: 'n', name: 'copy' },
  containers: [{ name: 'app', sidecar: false }],
  images: [],
};
const staged = (path = '') => join(target.layout.staged, CLAIM, path);

const checkpoint = (pages = randomBytes(3_000_000)): Buffer => {
  const images = join(source.layout.checkpoints, CLAIM, 'images/app/checkpoint');
  mkdirSync(images, { recursive: true });
  writeFileSync(join(images, 'pages-1.img'), pages);
  writeFileSync(join(images, 'empty.img'), '');
  return pages;
};
/** A container of the pod that runs on the node, as far as its bundle, its state and its cgroup tell. */
const running = ({ layout }: Node, name: string, pid: number) => {
  const cgroup = join(base, 'cgroup');
  for (const directory of [cgroup, join(layout.tasks, 'id'), join(layout.runcRoot, 'id')])
    mkdirSync(directory, { recursive: true });
  writeFileSync(join(cgroup, 'cgroup.procs'), `${pid}\n`);
  const annotations = { 'io.kubernetes.cri.sandbox-uid': pod.uid, 'io.kubernetes.cri.container-name': name };
  writeFileSync(join(layout.tasks, 'id/config.json'), JSON.stringify({ annotations }));
  writeFileSync(
    join(layout.runcRoot, 'id/state.json'),
    JSON.stringify({ init_process_pid: pid, cgroup_paths: { freezer: cgroup } }),
  );
  return { pod, containers: [{ name, sidecar: false }] };
};
const sendTo = (to: string, epoch = 3) =>
  agentOf(source).send({ claim: CLAIM, epoch, pod, target: { url: to, node: 'target' } });
const post = async (credentials: Credentials, path: string, body: string): Promise<{ status: number; body: string }> =>
  new Promise((resolve, reject) => {
    const call = request(
      `${url}${path}`,
      { ...credentials, method: 'POST', servername: 'shadow-agent' },
      (response) => {
        text(response).then((answered) => resolve({ status: response.statusCode ?? 0, body: answered }), reject);
      },
    );
    call.on('error', reject).end(body);
  });

describe('a checkpoint travels', () => {
  test('with the memory sent ahead: only what differs by then travels, and the base is gone afterwards', async () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    try {
      const run = running(source, 'app', child.pid!);
      const precopy = (to: string) =>
        agentOfSource.precopy({ ...claimed, ...run, target: { url: to, node: 'target' } });
      const agentOfSource = agentOf(source);
      await expect(precopy('https://127.0.0.1:1')).rejects.toMatchObject({ code: 'SHADOW_E_AGENT_UNREACHABLE' });
      await expect(precopy(url)).rejects.toMatchObject({ code: 'SHADOW_E_CLAIM' });
      await agentOf(target).prepare(prepared);
      const before = readdirSync(staged());
      const { bytes } = await precopy(url);
      expect(bytes).toBeGreaterThan(4096);
      expect(readdirSync(staged())).toHaveLength(before.length + 1);
      const own = await Readable.from(ownPages('/proc', child.pid!)).toArray();
      const changed = randomBytes(5 * 4096);
      const dump = Buffer.concat([changed, ...own, changed.subarray(4096), ...own, ...own, ...own]);
      checkpoint(dump);
      const sent = await agentOfSource.send({ ...claimed, pod, target: { url, node: 'target' } });
      expect(sent.bytes).toBe(dump.length);
      // Nine pages of its own, and the few of a stack that moved.
      expect(sent.sent).toBeLessThan(20 * 4096);
      expect(readFileSync(staged('app/checkpoint/pages-1.img')).equals(dump)).toBe(true);
      expect(readdirSync(staged()).filter((name) => name.startsWith('.'))).toEqual([]);
      // Asked again, it has no base any more: all of it goes.
      const again = await agentOfSource.send({ ...claimed, pod, target: { url, node: 'target' } });
      expect(again.sent).toBe(dump.length);
    } finally {
      child.kill('SIGKILL');
    }
  });

  test('whole, where the pod holds so little that nothing of it went ahead: the road is tried all the same', async () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    try {
      const agent = agentOf(source);
      const run = running(source, 'app', child.pid!);
      const precopy = (to: string) =>
        agent.precopy({ ...claimed, ...run, target: { url: to, node: 'target' }, atLeast: 64 << 20 });
      await expect(precopy('https://127.0.0.1:1')).rejects.toMatchObject({ code: 'SHADOW_E_AGENT_UNREACHABLE' });
      await expect(precopy(url)).rejects.toMatchObject({ code: 'SHADOW_E_CLAIM' });
      await agentOf(target).prepare(prepared);
      expect(await precopy(url)).toMatchObject({ bytes: 0 });
      const own = Buffer.concat(await Readable.from(ownPages('/proc', child.pid!)).toArray());
      const dump = Buffer.concat([own, own, own, own]);
      checkpoint(dump);
      const { sent } = await agent.send({ ...claimed, pod, target: { url, node: 'target' } });
      expect(sent).toBe(dump.length);
      expect(readFileSync(staged('app/checkpoint/pages-1.img')).equals(dump)).toBe(true);
      expect(readdirSync(staged()).filter((name) => name.startsWith('.'))).toEqual([]);
    } finally {
      child.kill('SIGKILL');
    }
  });

  test('refused when the base is not what the segments were made of; the next try goes whole', async () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    try {
      const agent = agentOf(source);
      await agentOf(target).prepare(prepared);
      await agent.precopy({ ...claimed, ...running(source, 'app', child.pid!), target: { url, node: 'target' } });
      const base = readdirSync(staged()).find((name) => name.startsWith('.base-'))!;
      writeFileSync(staged(base), randomBytes(1 << 20));
      const own = await Readable.from(ownPages('/proc', child.pid!)).toArray();
      const dump = Buffer.concat([...own, ...own, ...own, ...own]);
      checkpoint(dump);
      const send = () => agent.send({ ...claimed, pod, target: { url, node: 'target' } });
      await expect(send()).rejects.toMatchObject({ code: 'SHADOW_E_TRANSFER', retryable: true });
      expect(existsSync(staged('app'))).toBe(false);
      expect(await send()).toMatchObject({ bytes: dump.length });
      expect(readFileSync(staged('app/checkpoint/pages-1.img')).equals(dump)).toBe(true);
    } finally {
      child.kill('SIGKILL');
    }
  });

  test('whole, and only to a node that was prepared', async () => {
    const pages = checkpoint();
    await expect(sendTo(url)).rejects.toMatchObject({ code: 'SHADOW_E_CLAIM' });
    await agentOf(target).prepare(prepared);
    expect(await sendTo(url)).toMatchObject({ bytes: pages.length, files: 2 });
    expect(readFileSync(staged('app/checkpoint/pages-1.img')).equals(pages)).toBe(true);
    expect(readdirSync(staged()).filter((name) => name.startsWith('.'))).toEqual([]);
    // Asked again after an answer that got lost.
    expect(await sendTo(url)).toMatchObject({ files: 2 });
  });

  test.each([
    ['cut short', (bytes: Buffer) => bytes.subarray(0, 2_000_000)],
    ['without its manifest', (bytes: Buffer) => bytes.subarray(0, bytes.indexOf('.manifest.json'))],
    [
      'with one bit turned',
      (bytes: Buffer) => Buffer.from(bytes).fill((bytes[1_000_000] ?? 0) ^ 1, 1_000_000, 1_000_001),
    ],
  ])('%s it is refused and nothing of it stays', async (_, damage) => {
    checkpoint();
    await agentOf(target).prepare(prepared);
    const images = join(source.layout.checkpoints, CLAIM, 'images');
    const bytes = await buffer(packed(images, await filesIn(images)));
    const receiving = agentOf(target).receive(CLAIM, 3, Readable.from([damage(bytes)]));
    await expect(receiving).rejects.toMatchObject({ code: 'SHADOW_E_TRANSFER' });
    expect(readdirSync(staged()).sort()).toEqual(['attempt', 'containers', 'pod']);
    await expect(
      agentOf(target).restore({
        ...claimed,
        copy: { ...pod, name: 'copy' },
        oldIP: '10.0.0.1',
        freezeGeneration: 1,
        timeoutMs: 10,
      }),
    ).rejects.toMatchObject({ code: 'SHADOW_E_RESTORE' });
  });

  test('on one node it is moved, not copied; twice is once', async () => {
    const pages = checkpoint();
    const here = agentOf({ ...source, layout: { ...source.layout, staged: target.layout.staged } });
    await here.prepare(prepared);
    const local = { ...claimed, pod, target: { url: 'https://unused', node: 'source' } };
    expect(await here.send(local)).toMatchObject({ bytes: pages.length, files: 2 });
    expect(await here.send(local)).toMatchObject({ bytes: pages.length, files: 2 });
    expect(existsSync(staged('app/checkpoint/pages-1.img'))).toBe(true);
  });

  test('an agent that is not there is a transfer error worth another try', async () => {
    checkpoint();
    await expect(sendTo('https://127.0.0.1:1')).rejects.toMatchObject({ code: 'SHADOW_E_TRANSFER', retryable: true });
  });
});

describe('callers', () => {
  test('without a certificate of ours, or with another name, get nowhere', async () => {
    const { ca } = own;
    await expect(post({ ca } as Credentials, '/v1/node', '{}')).rejects.toThrow();
    const foreign = { ...authority()('shadow-controller'), ca };
    await expect(post(foreign, '/v1/node', '{}')).rejects.toThrow();
    expect(await post(sign('shadow-webhook'), '/v1/cancel', JSON.stringify(claimed))).toMatchObject({ status: 403 });
  });
  test('get the code of what is wrong', async () => {
    const controller = sign('shadow-controller');
    const bad = await post(controller, '/v1/cancel', '{"claim":7}');
    expect(bad).toMatchObject({ status: 400, body: expect.stringContaining('SHADOW_E_INVALID') });
    const path = await post(controller, '/v1/cancel', JSON.stringify({ claim: '../x', epoch: 1 }));
    expect(path).toMatchObject({ status: 403, body: expect.stringContaining('SHADOW_E_CLAIM') });
    expect((await post(controller, '/v1/cancel', JSON.stringify(claimed))).status).toBe(200);
  });
});

test('a deposed leader is refused, also by an agent that started anew', async () => {
  await agentOf(target).prepare(prepared);
  await expect(agentOf(target).cancel({ claim: CLAIM, epoch: 2 })).rejects.toMatchObject({ code: 'SHADOW_E_STALE' });
  expect(existsSync(staged('CANCEL'))).toBe(false);
  await agentOf(target).cancel({ claim: CLAIM, epoch: 4 });
  await expect(agentOf(target).prepare(prepared)).rejects.toMatchObject({ code: 'SHADOW_E_STALE' });
});

test('prepare: again is harmless, for another pod refused, after a cancel clean', async () => {
  const agent = agentOf(target);
  await agent.prepare(prepared);
  const attempt = readFileSync(staged('attempt'), 'utf8');
  await agent.prepare(prepared);
  expect(readFileSync(staged('attempt'), 'utf8')).toBe(attempt);
  await expect(agent.prepare({ ...prepared, copy: { namespace: 'n', name: 'other' } })).rejects.toMatchObject({
    code: 'SHADOW_E_CLAIM',
  });
  await expect(
    agent.prepare({ ...prepared, containers: [{ name: 'restored', sidecar: false }] }),
  ).rejects.toMatchObject({ code: 'SHADOW_E_UNSUPPORTED' });
  await agent.cancel(claimed);
  await agent.prepare(prepared);
  expect(existsSync(staged('CANCEL'))).toBe(false);
  expect(readFileSync(staged('attempt'), 'utf8')).not.toBe(attempt);
});

test('prepare: a copy is fenced unless it is said, in so many words, that it need not be', async () => {
  const agent = agentOf(target);
  await agent.prepare({ ...prepared, fence: false });
  expect(existsSync(staged('open'))).toBe(true);
  await agent.prepare(prepared);
  expect(existsSync(staged('open'))).toBe(false);
  await expect(agent.prepare({ ...prepared, containers: [{ name: 'open', sidecar: false }] })).rejects.toMatchObject({
    code: 'SHADOW_E_UNSUPPORTED',
  });
});

test('garbage: checkpoints of pods that are gone, with their epochs; one that is being made stays', async () => {
  const { checkpoints, epochs, kubelet } = target.layout;
  mkdirSync(join(kubelet, 'pods/here'), { recursive: true });
  for (const [claim, podUid] of [
    ['a-0', 'gone'],
    ['b-0', 'here'],
    ['c-0', undefined],
  ] as const) {
    mkdirSync(join(checkpoints, claim), { recursive: true });
    mkdirSync(epochs, { recursive: true });
    writeFileSync(join(epochs, claim), '3');
    const cut = JSON.stringify({ podUid, sidecars: [], generation: 1 });
    if (podUid !== undefined) writeFileSync(join(checkpoints, claim, 'cut.json'), cut);
  }
  await collectGarbage(target);
  expect(readdirSync(checkpoints).sort()).toEqual(['b-0', 'c-0']);
  expect(readdirSync(epochs).sort()).toEqual(['b-0', 'c-0']);
});

test('garbage: records of pods that are gone, old claims without their copy; nothing else', async () => {
  const { taken, staged: claims, kubelet } = target.layout;
  for (const uid of ['here', 'gone']) mkdirSync(join(taken, uid), { recursive: true });
  mkdirSync(join(kubelet, 'pods/here'));
  const old = Date.now() / 1000 - 2 * 86_400;
  for (const [claim, copy] of [
    ['a-0', 'gone'],
    ['b-0', 'here'],
    ['c-0', 'gone'],
  ] as const) {
    mkdirSync(join(claims, claim));
    writeFileSync(join(claims, claim, 'copy'), copy);
    if (claim !== 'c-0') utimesSync(join(claims, claim), old, old);
  }
  mkdirSync(join(claims, '.half-removed.gone'));
  await collectGarbage(target);
  expect(readdirSync(taken)).toEqual(['here']);
  expect(readdirSync(claims).sort()).toEqual(['b-0', 'c-0']);
});
