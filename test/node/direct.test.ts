/** transferMode Direct between two agents, by a real containerd; nothing is checkpointed or restored. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import type { AddressInfo } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { selfSigned } from '../../webhook/admission/ca/authority.ts';
import { type Calls, calls } from '../../webhook/agent/calls.ts';
import { imageArchive, imageOfClaim } from '../../webhook/agent/direct.ts';
import type { Driver } from '../../webhook/agent/drivers.ts';
import { LAYOUT, type Node, nodeOf } from '../../webhook/agent/node.ts';
import { agentServer } from '../../webhook/agent/server.ts';
import type { Credentials } from '../../webhook/agent/tls.ts';
import { AGENT } from '../../webhook/api/names.ts';

const CLAIM = 'abc-0';
const claimed = { claim: CLAIM, epoch: 1 };
const none: Driver = { paused: true, arm: () => Promise.reject(new Error('no dump in this test')) };

/** The playground's build of it. */
const containerdDir = (): string => {
  const cache = join(homedir(), '.cache/kubectl-shadow');
  const name = existsSync(cache) ? readdirSync(cache).find((entry) => /^containerd-\d/.test(entry)) : undefined;
  if (name === undefined) throw new Error('test/node needs containerd: run npm run playground -- up once');
  return join(cache, name);
};

let store: string;
let containerd: ChildProcess;
let said = '';
const ctr = (...args: string[]): string =>
  execFileSync(join(containerdDir(), 'ctr'), ['-a', join(store, 'sock'), '-n', 'k8s.io', ...args], {
    encoding: 'utf8',
  });

beforeAll(async () => {
  store = mkdtempSync(join(tmpdir(), 'shadow-containerd-'));
  const config = `version = 3
root = '${store}/root'
state = '${store}/state'
disabled_plugins = ['io.containerd.cri.v1.images', 'io.containerd.cri.v1.runtime', 'io.containerd.grpc.v1.cri']
[grpc]
  address = '${store}/sock'
`;
  writeFileSync(join(store, 'config.toml'), config);
  // As the agent calls it, but for where it listens.
  mkdirSync(join(store, 'bin'));
  writeFileSync(join(store, 'bin/ctr'), `#!/bin/sh\nexec ${containerdDir()}/ctr -a ${store}/sock "$@"\n`);
  chmodSync(join(store, 'bin/ctr'), 0o755);
  containerd = spawn(join(containerdDir(), 'containerd'), ['-c', join(store, 'config.toml')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  containerd.stderr?.on('data', (text: Buffer) => {
    said = (said + text.toString()).slice(-4000);
  });
  for (let tries = 0; ; tries++) {
    try {
      ctr('images', 'ls');
      break;
    } catch {
      if (containerd.exitCode !== null || tries > 300) throw new Error(`containerd does not start: ${said}`);
      await sleep(100);
    }
  }
});
afterAll(async () => {
  if (containerd?.exitCode === null && containerd.kill('SIGKILL')) await once(containerd, 'exit');
  rmSync(store, { recursive: true, force: true });
});

let base: string;
let own: Credentials;
let nodes: Record<'source' | 'target', Node>;
let source: Calls;
let target: Calls;
let server: ReturnType<typeof agentServer>;
let url: string;

const nodeIn = (name: string): Node => {
  const under = (path: string): string => join(base, name, path);
  const layout = {
    ...{ ...LAYOUT, root: '', staged: under('staged'), checkpoints: under('checkpoints'), taken: under('taken') },
    ...{ epochs: under('epochs'), kubelet: under('kubelet'), tasks: under('tasks'), runcRoot: under('runc') },
  };
  for (const path of ['staged', 'checkpoints', 'taken', 'epochs', 'kubelet/pods'])
    mkdirSync(under(path), { recursive: true });
  return nodeOf(name, layout, [], `${store}/bin:${process.env.PATH}`);
};
const agentOf = (node: Node): Calls =>
  calls({
    ...{ node, drivers: { runc: none, kubelet: none }, credentials: () => own },
    checkpointApi: async () => '',
    warn: () => undefined,
  });

beforeEach(async () => {
  base = mkdtempSync(join(tmpdir(), 'shadow-direct-test-'));
  const pair = selfSigned(AGENT, Date.now(), 3_600_000);
  own = { ...pair, ca: pair.cert };
  nodes = { source: nodeIn('source'), target: nodeIn('target') };
  source = agentOf(nodes.source);
  target = agentOf(nodes.target);
  server = agentServer(target, own, () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  await target.clean(claimed);
  server.closeAllConnections();
  server.close();
  rmSync(base, { recursive: true, force: true });
});

const prepare = () =>
  target.prepare({
    ...{ ...claimed, copy: { namespace: 'n', name: 'copy' }, images: [] },
    containers: [{ name: 'app', sidecar: false }],
  });
const send = () => source.sendImage({ ...claimed, container: 'app', target: { url, node: 'target' } });
const staged = (path = ''): string => join(base, 'target/staged', CLAIM, path);
const checkpoint = (): Map<string, Buffer> => {
  const files = new Map([
    ['app/checkpoint/pages-1.img', randomBytes(20_000_000)],
    ['app/checkpoint/core-1.img', randomBytes(900)],
    ['app/checkpoint/empty.img', Buffer.alloc(0)],
    ['emptydir/data.tar', randomBytes(10_240)],
  ]);
  for (const [path, bytes] of files) {
    const file = join(base, 'source/checkpoints', CLAIM, 'images', path);
    mkdirSync(join(file, '..'), { recursive: true });
    writeFileSync(file, bytes);
  }
  return files;
};
const images = (): string[] => ctr('images', 'ls', '-q').split('\n').filter(Boolean);
const blobs = (): number => ctr('content', 'ls', '-q').split('\n').filter(Boolean).length;

describe('a checkpoint by the image store of the target', () => {
  test('arrives as it was, is an image of one layer there, and leaves nothing', async () => {
    const files = checkpoint();
    await prepare();
    await target.tryImageStore({});
    const { bytes, files: count } = await send();
    expect(count).toBe(files.size);
    for (const [path, content] of files) expect(readFileSync(staged(path)).equals(content), path).toBe(true);
    expect(bytes).toBe([...files.values()].reduce((sum, { length }) => sum + length, 0));
    expect(images()).toEqual([imageOfClaim(CLAIM)]);
    const { layer } = await imageArchive(nodes.source, CLAIM, 'app');
    const manifests = ctr('content', 'ls', '-q').split('\n').filter(Boolean);
    expect(manifests).toContain(layer.digest);
    const texts = manifests.filter((digest) => digest !== layer.digest).map((digest) => ctr('content', 'get', digest));
    const manifest = texts.map((text) => JSON.parse(text)).find(({ layers }) => layers !== undefined);
    expect(manifest.layers).toEqual([{ mediaType: 'application/vnd.oci.image.layer.v1.tar', ...layer }]);
    expect(manifest.annotations).toMatchObject({ 'org.criu.checkpoint.container.name': 'app' });
    // Asked again after an answer that got lost.
    expect(await send()).toMatchObject({ bytes, files: count });
    await target.clean(claimed);
    expect(images()).toEqual([]);
    expect(blobs()).toBe(0);
  });

  test('that is cut short, or another than was meant, is refused and leaves nothing', async () => {
    checkpoint();
    await prepare();
    const { layer, archive } = await imageArchive(nodes.source, CLAIM, 'app');
    const cut = (async function* () {
      let left = 5_000_000;
      for await (const chunk of archive as AsyncIterable<Buffer>) {
        if (left <= 0) return;
        yield chunk.subarray(0, left);
        left -= chunk.length;
      }
    })();
    const asked = (given: typeof layer, input: Readable) => target.image(CLAIM, 1, given, input);
    await expect(asked(layer, Readable.from(cut))).rejects.toMatchObject({ code: 'SHADOW_E_TRANSFER' });
    const whole = await imageArchive(nodes.source, CLAIM, 'app');
    const other = { ...layer, size: layer.size - 1 };
    await expect(asked(other, whole.archive)).rejects.toMatchObject({ code: 'SHADOW_E_TRANSFER' });
    expect(readdirSync(staged()).sort()).toEqual(['attempt', 'containers', 'imported', 'pod']);
    await target.clean(claimed);
    expect([images(), blobs()]).toEqual([[], 0]);
  });

  test('of a sender that breaks off in the middle is given up', async () => {
    checkpoint();
    await prepare();
    const { layer } = await imageArchive(nodes.source, CLAIM, 'app');
    const broken = (async function* () {
      yield randomBytes(100);
      throw new Error('reset by peer');
    })();
    const input = Readable.from(broken);
    await expect(target.image(CLAIM, 1, layer, input)).rejects.toThrow(/reset by peer/);
  });

  test('only for a claim that is prepared', async () => {
    checkpoint();
    await expect(send()).rejects.toMatchObject({ code: 'SHADOW_E_CLAIM' });
    expect(images()).toEqual([]);
  });

  test('where there is no image store, that is said before', async () => {
    writeFileSync(join(base, 'ctr'), '#!/bin/sh\necho "no such socket" >&2; exit 1\n');
    chmodSync(join(base, 'ctr'), 0o755);
    const storeless = agentOf(nodeOf('target', nodes.target.layout, [], `${base}:${process.env.PATH}`));
    await expect(storeless.tryImageStore({})).rejects.toMatchObject({ code: 'SHADOW_E_NODE_UNFIT' });
  });
});
