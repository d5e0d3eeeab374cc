/**
 * How long a checkpoint's transfer takes: two processes, mTLS over loopback, 55 MB of pages of which a quarter are not in the
 * base, and a checkpoint's small files. `node test/node/transfer.ts TREE... [--runs N]`: each tree's agent by turns (default:
 * this one), the medians last: of the time it takes, and of the processor time of both ends, which other work disturbs less. It must be right as well: what arrives is compared.
 */
import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { selfSigned } from '../../webhook/admission/ca/authority.ts';
import { AGENT } from '../../webhook/api/names.ts';

type Agent = {
  archive: typeof import('../../webhook/agent/archive.ts');
  calls: typeof import('../../webhook/agent/calls.ts');
  client: typeof import('../../webhook/agent/client.ts');
  node: typeof import('../../webhook/agent/node.ts');
  precopy: typeof import('../../webhook/agent/precopy.ts');
  server: typeof import('../../webhook/agent/server.ts');
};

const CLAIM = 'abc-0';
const PAGE = 4096;
const FILES = [
  ['app/checkpoint/pages-1.img', 10_000],
  ['shadow-sidecar/checkpoint/pages-1.img', 4080],
] as const;

const load = async (tree: string): Promise<Agent> => {
  const part = (name: string): Promise<unknown> => import(join(tree, 'webhook/agent', `${name}.ts`));
  const names = ['archive', 'calls', 'client', 'node', 'precopy', 'server'];
  const parts = await Promise.all(names.map(async (name) => [name, await part(name)]));
  return Object.fromEntries(parts) as Agent;
};

interface Job {
  readonly tree: string;
  readonly dir: string;
  readonly credentials: { cert: string; key: string; ca: string };
}

/** The target's processor time when it had the base. */
let idle = 0;

/** The target's agent; says where it listens. */
const serve = async ({ tree, dir, credentials }: Job): Promise<void> => {
  const { calls, node, server } = await load(tree);
  const under = (path: string): string => join(dir, 'target', path);
  const layout = {
    ...node.LAYOUT,
    ...{ root: '', staged: under('staged'), checkpoints: under('checkpoints'), taken: under('taken') },
    ...{ epochs: under('epochs'), kubelet: under('kubelet'), tasks: under('tasks'), runcRoot: under('runc') },
  };
  for (const path of ['staged', 'checkpoints', 'taken', 'epochs', 'kubelet/pods'])
    mkdirSync(under(path), { recursive: true });
  const none = { paused: true, arm: () => Promise.reject(new Error('none')) };
  const agent = calls.calls({
    node: node.nodeOf('target', layout, []),
    drivers: { runc: none, kubelet: none },
    credentials: () => credentials,
    checkpointApi: async () => '',
    warn: () => undefined,
  });
  await agent.prepare({
    ...{ claim: CLAIM, epoch: 1, copy: { namespace: 'n', name: 'copy' }, images: [] },
    containers: [{ name: 'app', sidecar: false }],
  });
  const { base } = agent;
  agent.base = async (...given) => {
    const answer = await base(...given);
    idle = cpu();
    return answer;
  };
  const listening = server.agentServer(agent, credentials, () => undefined);
  listening.listen(0, '127.0.0.1', () => {
    process.send?.((listening.address() as AddressInfo).port);
  });
};

/** The base and, in runs of some pages, what has changed since. */
const checkpoint = (dir: string): Buffer => {
  const base: Buffer[] = [];
  for (const [path, pages] of FILES) {
    const bytes = randomBytes(pages * PAGE);
    base.push(Buffer.from(bytes));
    for (let page = 0; page < pages; page += 16) randomBytes(4 * PAGE).copy(bytes, page * PAGE);
    mkdirSync(join(dir, 'images', path, '..'), { recursive: true });
    writeFileSync(join(dir, 'images', path), bytes);
    for (let n = 0; n < 30; n++) writeFileSync(join(dir, 'images', path, '..', `core-${n}.img`), randomBytes(900));
  }
  return Buffer.concat(base);
};

interface Taken {
  readonly ms: number;
  readonly cpu: number;
}

/** Processor time of this process so far, milliseconds. */
const cpu = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

const send = async ({ tree, dir, credentials }: Job, port: number): Promise<Taken> => {
  const { archive, client, precopy } = await load(tree);
  const images = join(dir, 'images');
  const pages = checkpoint(dir);
  const base = precopy.newBase();
  for (let at = 0; at < pages.length; at += 256 * PAGE) base.index.add(pages.subarray(at, at + 256 * PAGE));
  const target = { url: `https://127.0.0.1:${port}`, credentials: () => credentials };
  const chunks = Array.from({ length: Math.ceil(pages.length / (1 << 20)) }, (_, n) =>
    pages.subarray(n << 20, (n + 1) << 20),
  );
  await client.putBase(target, CLAIM, 1, base.id, Readable.from(chunks));
  const spent = cpu();
  const began = performance.now();
  const packed = archive.packed(images, await archive.filesIn(images), { base });
  await client.putCheckpoint(target, CLAIM, 1, packed);
  const ms = performance.now() - began;
  const sent = cpu() - spent;
  for (const [path] of FILES)
    if (!readFileSync(join(dir, 'target/staged', CLAIM, path)).equals(readFileSync(join(images, path))))
      throw new Error(`${path} is not what it was`);
  return { ms, cpu: sent };
};

const self = fileURLToPath(import.meta.url);

/** One transfer, in two fresh processes. */
const once = async (tree: string): Promise<Taken> => {
  const dir = mkdtempSync(join(tmpdir(), 'shadow-transfer-'));
  const own = selfSigned(AGENT, Date.now(), 3_600_000);
  const job: Job = { tree, dir, credentials: { ...own, ca: own.cert } };
  const start = (role: string, more: object) =>
    fork(self, [role], { env: { ...process.env, JOB: JSON.stringify({ ...job, ...more }) } });
  const said = <T>(child: ReturnType<typeof fork>): Promise<T> =>
    new Promise((done, fail) => {
      child.once('message', (message) => done(message as T));
      child.once('exit', (code) => fail(new Error(`ended with ${code}`)));
    });
  const target = start('serve', {});
  try {
    const source = start('send', { port: await said<number>(target) });
    const { ms, cpu: sent } = await said<Taken>(source);
    const received = said<number>(target);
    target.send('cpu');
    return { ms, cpu: sent + (await received) };
  } finally {
    target.kill();
    rmSync(dir, { recursive: true, force: true });
  }
};

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;
const told = (values: readonly number[]): string =>
  `${median(values).toFixed(0)} ms (${values.map((value) => value.toFixed(0)).join(', ')})`;

const measure = async (): Promise<void> => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { runs: { type: 'string', default: '7' } },
  });
  const trees = (positionals.length > 0 ? positionals : ['.']).map((tree) => resolve(tree));
  const taken = new Map<string, Taken[]>(trees.map((tree) => [tree, []]));
  for (let run = 0; run < Number(values.runs); run++) for (const tree of trees) taken.get(tree)!.push(await once(tree));
  for (const [tree, each] of taken) {
    console.log(`${tree}: ${told(each.map(({ ms }) => ms))}`);
    console.log(`  processor time, both ends: ${told(each.map(({ cpu: spent }) => spent))}`);
  }
};

const [role] = process.argv.slice(2);
const job = JSON.parse(process.env.JOB ?? '{}') as Job & { port: number };
if (role === 'serve') {
  await serve(job);
  process.on('message', () => process.send?.(cpu() - idle));
} else if (role === 'send') {
  const taken = await send(job, job.port);
  process.send?.(taken);
  process.disconnect?.();
} else await measure();
