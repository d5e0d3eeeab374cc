/** transferMode Registry between two agents, by a real registry; no tool of a node runs. */
import { spawn } from 'node:child_process';
import { createPrivateKey, randomBytes, sign, X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type KeyPair, selfSigned } from '../../webhook/admission/ca/authority.ts';
import { type Calls, calls } from '../../webhook/agent/calls.ts';
import type { Driver } from '../../webhook/agent/drivers.ts';
import { LAYOUT, nodeOf } from '../../webhook/agent/node.ts';
import { Session } from '../../webhook/agent/registry/session.ts';
import { upload } from '../../webhook/agent/registry/upload.ts';
import type { Image } from '../../webhook/api/agent.ts';
import { LOGIN, openRegistry, type Registry, type RegistryOptions, registryProgram } from './registry.ts';

const CLAIM = 'abc-0';
const claimed = { claim: CLAIM, epoch: 1 };
const NAME = 'team/checkpoints/consumer-0';
const none: Driver = { paused: true, arm: () => Promise.reject(new Error('no dump in this test')) };

let base: string;
let source: Calls;
let target: Calls;
let registry: Registry | undefined;
const servers: (Server | HttpServer)[] = [];

const agentIn = (name: string): Calls => {
  const under = (path: string): string => join(base, name, path);
  const layout = {
    ...{ ...LAYOUT, root: '', staged: under('staged'), checkpoints: under('checkpoints'), taken: under('taken') },
    ...{ epochs: under('epochs'), kubelet: under('kubelet'), tasks: under('tasks'), runcRoot: under('runc') },
  };
  for (const path of ['staged', 'checkpoints', 'taken', 'epochs', 'kubelet/pods'])
    mkdirSync(under(path), { recursive: true });
  return calls({
    node: nodeOf(name, layout, []),
    drivers: { runc: none, kubelet: none },
    credentials: () => ({ cert: '', key: '', ca: '' }),
    checkpointApi: async () => '',
    warn: () => undefined,
  });
};

beforeAll(async () => {
  await registryProgram();
}, 1_200_000);
beforeEach(async () => {
  base = mkdtempSync(join(tmpdir(), 'shadow-registry-test-'));
  source = agentIn('source');
  target = agentIn('target');
  await target.prepare({
    ...{ ...claimed, copy: { namespace: 'n', name: 'copy' }, images: [] },
    containers: [
      { name: 'shadow-sidecar', sidecar: true },
      { name: 'app', sidecar: false },
    ],
  });
});
afterEach(async () => {
  for (const server of servers.splice(0)) server.close();
  await registry?.close();
  registry = undefined;
  rmSync(base, { recursive: true, force: true });
});

const open = async (options: RegistryOptions = {}): Promise<Registry> => {
  registry = await openRegistry(options);
  return registry;
};
const imageAt = (host: string, more: Partial<Image> = {}): Image => ({
  ...{ scheme: 'http', host, name: NAME, tag: 'checkpoint' },
  ...more,
});

const imagesDir = (): string => join(base, 'source/checkpoints', CLAIM, 'images');
const staged = (path = ''): string => join(base, 'target/staged', CLAIM, path);

/** What a cut leaves of a pod of two containers; 21 MB, so more than one piece of an upload. */
const checkpoint = (): Map<string, Buffer> => {
  const files = new Map([
    ['app/checkpoint/pages-1.img', randomBytes(20_000_000)],
    ['app/checkpoint/core-1.img', randomBytes(900)],
    ['app/checkpoint/empty.img', Buffer.alloc(0)],
    ['shadow-sidecar/checkpoint/pages-1.img', randomBytes(1_000_000)],
    ['emptydir/data.tar', randomBytes(10_240)],
  ]);
  for (const [path, bytes] of files) {
    mkdirSync(join(imagesDir(), path, '..'), { recursive: true });
    writeFileSync(join(imagesDir(), path), bytes);
  }
  return files;
};
const arrived = (files: Map<string, Buffer>): void => {
  for (const [path, bytes] of files) expect(readFileSync(staged(path)).equals(bytes), path).toBe(true);
};
const untouched = (): void => expect(readdirSync(staged()).sort()).toEqual(['attempt', 'containers', 'pod']);

const push = (image: Image) => source.push({ ...claimed, image, container: 'app' });
const fetchManifest = async (host: string, reference: string): Promise<{ status: number; body: string }> => {
  const answer = await fetch(`http://${host}/v2/${NAME}/manifests/${reference}`, {
    headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
  });
  return { status: answer.status, body: await answer.text() };
};

describe('a checkpoint by a registry', () => {
  test('arrives as it was, in one uncompressed layer that both runtimes know for a checkpoint, and is removed', async () => {
    const { host, blobs, uploads, manifests } = await open();
    const files = checkpoint();
    const image = imageAt(host);
    await source.tryRegistry({ image, push: true });
    await target.tryRegistry({ image, push: false });
    expect(uploads()).toEqual([]);
    const { digest, bytes } = await push(image);
    const { body } = await fetchManifest(host, 'checkpoint');
    const manifest = JSON.parse(body);
    expect(manifest.layers).toEqual([
      { mediaType: 'application/vnd.oci.image.layer.v1.tar', size: bytes, digest: manifest.layers[0].digest },
    ]);
    expect(manifest.annotations).toEqual({
      'org.criu.checkpoint.container.name': 'app',
      'io.kubernetes.cri-o.annotations.checkpoint.name': 'app',
    });
    expect(await target.pull({ ...claimed, image, digest })).toMatchObject({ files: files.size });
    arrived(files);
    expect(blobs()).toHaveLength(3);
    expect(await source.unpush({ ...claimed, image, digest })).toEqual({ left: '' });
    expect(manifests(NAME)).toEqual([]);
    expect((await fetchManifest(host, 'checkpoint')).status).toBe(404);
    const layer = await fetch(`http://${host}/v2/${NAME}/blobs/${manifest.layers[0].digest}`);
    expect(layer.status).toBe(404);
    // Twice is once.
    expect(await source.unpush({ ...claimed, image, digest })).toEqual({ left: '' });
  });

  test('by its digest, whatever the tag says by now; asked again, the same one', async () => {
    const { host, manifests } = await open();
    const files = checkpoint();
    const image = imageAt(host);
    const { digest } = await push(image);
    expect((await push(image)).digest).toBe(digest);
    expect(manifests(NAME)).toEqual([digest]);
    // Another pod of that name, elsewhere, goes by the same tag.
    writeFileSync(
      join(base, 'source/checkpoints', CLAIM, 'pushed.json'),
      '{"host":"","name":"","digest":"","bytes":0}',
    );
    writeFileSync(join(imagesDir(), 'app/checkpoint/core-1.img'), 'another');
    const other = await push(image);
    expect(other.digest).not.toBe(digest);
    await target.pull({ ...claimed, image, digest });
    arrived(files);
    expect(await source.unpush({ ...claimed, image, digest })).toEqual({ left: '' });
    expect(manifests(NAME)).toEqual([other.digest]);
    // Whoever does not know the digest any more: the source's agent does.
    expect(await source.unpush({ ...claimed, image })).toEqual({ left: '' });
    expect(manifests(NAME)).toEqual([]);
  });

  test.each<[string, number]>([
    ['the layer', 0],
    ['the manifest', 1],
  ])('refused when %s is not what its digest says, and nothing of it stays', async (what, which) => {
    const { host, damage } = await open();
    checkpoint();
    const image = imageAt(host);
    const { digest } = await push(image);
    const { layers } = JSON.parse((await fetchManifest(host, digest)).body);
    damage([layers[0].digest, digest][which]);
    const pulling = target.pull({ ...claimed, image, digest });
    // Of a manifest the registry itself may say so.
    await expect(pulling).rejects.toMatchObject({ code: /layer/.test(what) ? 'SHADOW_E_TRANSFER' : expect.anything() });
    untouched();
  });

  test('that was not pushed, or is no checkpoint, is refused', async () => {
    const { host } = await open();
    checkpoint();
    const image = imageAt(host);
    const nothing = { ...claimed, image, digest: `sha256:${'0'.repeat(64)}` };
    await expect(target.pull(nothing)).rejects.toMatchObject({ code: 'SHADOW_E_TRANSFER', retryable: false });
    untouched();
  });

  test('where nothing may be deleted, it stays, and that is said', async () => {
    const { host, manifests } = await open({ deletes: false });
    checkpoint();
    const image = imageAt(host);
    const { digest } = await push(image);
    const { left } = await source.unpush({ ...claimed, image, digest });
    expect(left).toContain('405');
    expect(manifests(NAME)).toEqual([digest]);
  });
});

/** To the registry, byte by byte; a connection that has brought `limit` bytes is cut, `cuts` times in all. */
const flaky = async (to: string, limit: number, cuts: number): Promise<{ host: string; cut: () => number }> => {
  const [address, port] = to.split(':');
  let done = 0;
  const server = createServer((client) => {
    const upstream = connect(Number(port), address);
    let seen = 0;
    const end = (): void => {
      client.destroy();
      upstream.destroy();
    };
    client.on('data', (bytes) => {
      seen += bytes.length;
      if (seen > limit && done < cuts) {
        done += 1;
        end();
      } else if (!upstream.destroyed) upstream.write(bytes);
    });
    upstream.on('data', (bytes) => client.write(bytes));
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, cut: () => done };
};

describe('an upload that is interrupted', () => {
  test('goes on from where the registry stands', async () => {
    const { host } = await open();
    const files = checkpoint();
    const road = await flaky(host, 6_000_000, 2);
    const { digest } = await push(imageAt(road.host));
    expect(road.cut()).toBe(2);
    await target.pull({ ...claimed, image: imageAt(host), digest });
    arrived(files);
  });

  test('for good, is given up, retryable, and leaves no image', async () => {
    const { host, manifests, blobs } = await open();
    checkpoint();
    const road = await flaky(host, 2_000_000, 1000);
    await expect(push(imageAt(road.host))).rejects.toMatchObject({ code: 'SHADOW_E_REGISTRY', retryable: true });
    expect(road.cut()).toBeGreaterThan(1);
    expect([manifests(NAME), blobs()]).toEqual([[], []]);
  });

  test('by what is read, is called off', async () => {
    const { host, uploads } = await open();
    const session = new Session(imageAt(host), { scheme: 'http', ca: [] });
    const broken = async function* (): AsyncGenerator<Buffer> {
      yield randomBytes(10 << 20);
      expect(uploads()).toHaveLength(1);
      throw new Error('the disk is gone');
    };
    await expect(upload(session, broken)).rejects.toMatchObject({ code: 'SHADOW_E_TRANSFER', retryable: false });
    expect(uploads()).toEqual([]);
    session.close();
  });
});

describe('credentials', () => {
  test('as a registry with passwords asks for them', async () => {
    const { host, uploads } = await open({ login: true });
    const files = checkpoint();
    const image = imageAt(host, LOGIN);
    for (const wrong of [imageAt(host), imageAt(host, { ...LOGIN, password: 'another' })]) {
      await expect(source.tryRegistry({ image: wrong, push: true })).rejects.toMatchObject({
        code: 'SHADOW_E_REGISTRY_ACCESS',
        retryable: false,
      });
      await expect(target.tryRegistry({ image: wrong, push: false })).rejects.toMatchObject({
        code: 'SHADOW_E_REGISTRY_ACCESS',
      });
      const pushing = push(wrong);
      await expect(pushing).rejects.toMatchObject({ code: 'SHADOW_E_REGISTRY_ACCESS' });
      await expect(pushing).rejects.not.toThrow(/another/);
    }
    expect(uploads()).toEqual([]);
    await source.tryRegistry({ image, push: true });
    const { digest } = await push(image);
    await target.pull({ ...claimed, image, digest });
    arrived(files);
    expect(await source.unpush({ ...claimed, image, digest })).toEqual({ left: '' });
  });

  /** Tokens for LOGIN, with as much of what is asked for as `grants` says; and what was asked for. */
  const tokens = async (signer: KeyPair, grants: readonly string[]): Promise<{ realm: string; scopes: string[] }> => {
    const scopes: string[] = [];
    const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const server = createHttpServer((request, response) => {
      const basic = `Basic ${Buffer.from(`${LOGIN.username}:${LOGIN.password}`).toString('base64')}`;
      const scope = new URL(request.url ?? '', 'http://x').searchParams.get('scope') ?? '';
      scopes.push(scope);
      const [type = '', name = '', actions = ''] = scope.split(':');
      const access = [{ type, name, actions: actions.split(',').filter((action) => grants.includes(action)) }];
      const now = Math.floor(Date.now() / 1000);
      const x5c = [new X509Certificate(signer.cert).raw.toString('base64')];
      const claims = {
        iss: 'test',
        sub: '',
        aud: 'registry',
        exp: now + 300,
        nbf: now - 10,
        iat: now,
        jti: 'a',
        access,
      };
      const content = `${encoded({ alg: 'ES256', typ: 'JWT', x5c })}.${encoded(claims)}`;
      const key = { key: createPrivateKey(signer.key), dsaEncoding: 'ieee-p1363' } as const;
      const token = `${content}.${sign('sha256', Buffer.from(content), key).toString('base64url')}`;
      response.writeHead(request.headers.authorization === basic ? 200 : 401);
      response.end(JSON.stringify({ token }));
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return { realm: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`, scopes };
  };

  test('as a registry with tokens asks for them, for no more than is done', async () => {
    const signer = selfSigned('tokens', Date.now(), 3_600_000);
    const { realm, scopes } = await tokens(signer, ['pull', 'push', 'delete']);
    const { host } = await open({ token: { realm, certificate: signer.cert } });
    const files = checkpoint();
    const image = imageAt(host, LOGIN);
    const { digest } = await push(image);
    expect(new Set(scopes)).toEqual(new Set([`repository:${NAME}:pull,push`]));
    scopes.length = 0;
    await target.pull({ ...claimed, image, digest });
    expect(new Set(scopes)).toEqual(new Set([`repository:${NAME}:pull`]));
    arrived(files);
    expect(await source.unpush({ ...claimed, image, digest })).toEqual({ left: '' });
    const wrong = imageAt(host, { ...LOGIN, password: 'another' });
    await expect(push(wrong)).rejects.toMatchObject({ code: 'SHADOW_E_REGISTRY_ACCESS' });
  });

  test('that may pull only are refused before anything is pushed', async () => {
    const signer = selfSigned('tokens', Date.now(), 3_600_000);
    const { realm } = await tokens(signer, ['pull']);
    const { host, uploads } = await open({ token: { realm, certificate: signer.cert } });
    const image = imageAt(host, LOGIN);
    await target.tryRegistry({ image, push: false });
    await expect(source.tryRegistry({ image, push: true })).rejects.toMatchObject({ code: 'SHADOW_E_REGISTRY_ACCESS' });
    expect(uploads()).toEqual([]);
  });
});

describe('a registry', () => {
  test('of a CA of its own is trusted by that CA alone, and not spoken to in the clear', async () => {
    const own = selfSigned('localhost', Date.now(), 3_600_000);
    const { host } = await open({ tls: own });
    const named = host.replace('127.0.0.1', 'localhost');
    const files = checkpoint();
    const image = imageAt(named, { scheme: 'https' });
    const asked = (given: Image) => source.tryRegistry({ image: given, push: true });
    await expect(asked(image)).rejects.toMatchObject({ code: 'SHADOW_E_REGISTRY' });
    await expect(asked(imageAt(named))).rejects.toMatchObject({ code: 'SHADOW_E_REGISTRY' });
    const other = selfSigned('localhost', Date.now(), 3_600_000).cert;
    await expect(asked({ ...image, ca: other })).rejects.toMatchObject({ code: 'SHADOW_E_REGISTRY' });
    const trusting = { ...image, ca: own.cert };
    await asked(trusting);
    const { digest } = await push(trusting);
    await target.pull({ ...claimed, image: trusting, digest });
    arrived(files);
  });

  test('that is not there is said to be unreachable', async () => {
    const image = imageAt('127.0.0.1:1');
    await expect(source.tryRegistry({ image, push: true })).rejects.toMatchObject({
      code: 'SHADOW_E_REGISTRY',
      retryable: true,
    });
    expect((await source.unpush({ ...claimed, image, digest: `sha256:${'0'.repeat(64)}` })).left).toContain(
      '127.0.0.1:1',
    );
  });
});

/** In a process of its own: 1 GiB there and back. What it took of memory at most, MiB. */
const measured = (program: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      cwd: join(import.meta.dirname, '../..'),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    child.stdout.on('data', (text: Buffer) => {
      said += text.toString();
    });
    child.on('close', (code) =>
      code === 0 ? resolve(Number(said)) : reject(new Error(`ended with ${code}: ${said}`)),
    );
  });

test('a checkpoint of 1 GiB passes through a small part of that memory, on either side', {
  timeout: 600_000,
}, async () => {
  const { host } = await open();
  mkdirSync(join(imagesDir(), 'app/checkpoint'), { recursive: true });
  writeFileSync(join(imagesDir(), 'app/checkpoint/pages-1.img'), '');
  truncateSync(join(imagesDir(), 'app/checkpoint/pages-1.img'), 1 << 30);
  const program = (node: string, what: string): string => `
    import { push, pull } from './webhook/agent/registry/calls.ts';
    import { LAYOUT, nodeOf } from './webhook/agent/node.ts';
    const under = (path) => ${JSON.stringify(join(base, node))} + '/' + path;
    const layout = { ...LAYOUT, root: '', staged: under('staged'), checkpoints: under('checkpoints') };
    const node = nodeOf('node', layout, []);
    const image = ${JSON.stringify(imageAt(host))};
    const claimed = { claim: '${CLAIM}', epoch: 1, image };
    ${what};
    console.log(Math.round(process.resourceUsage().maxRSS / 1024));`;
  expect(await measured(program('source', `await push(node, { ...claimed, container: 'app' })`))).toBeLessThan(400);
  const [digest] = registry?.manifests(NAME) ?? [];
  expect(await measured(program('target', `await pull(node, { ...claimed, digest: '${digest}' })`))).toBeLessThan(400);
  expect(readFileSync(staged('received'), 'utf8')).toContain(`${1 << 30}`);
});
