/** Up and down of the whole. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { V1Node, V1NodeList } from '@kubernetes/client-node';
import { ShadowError } from '../../webhook/api/errors.ts';
import { importEverywhere } from '../images/import.ts';
import { pauseImage } from '../images/ours.ts';
import { brokerReady, brokerSeries, restartBroker, startBroker } from './broker.ts';
import { obtainParts, type Parts, type Say } from './build/parts.ts';
import { clean, readSysctl } from './clean.ts';
import { type Host, PKI } from './config.ts';
import { apiGet, applyBase, startControlPlane } from './control.ts';
import { loadImages } from './deploy.ts';
import { checkHost } from './host.ts';
import { NODES, type NodeName, RUN } from './layout.ts';
import { buildNetwork } from './network.ts';
import { containerdReady, initPid, layOutNode, startNode } from './node.ts';
import { writePki } from './pki.ts';
import { installation, type Series } from './rabbitmq.ts';
import { poll, run } from './run.ts';
import { emptyState, isAlive, makeDir, readState, type State, writeState } from './state.ts';

/** Settings of the machine the kubelet writes at its start (kubelet's setupKernelTunables) and we put back. */
const KUBELET_SYSCTLS = [
  'vm/overcommit_memory',
  'vm/panic_on_oom',
  'kernel/panic',
  'kernel/panic_on_oops',
  'kernel/keys/root_maxkeys',
  'kernel/keys/root_maxbytes',
];

const sysctlsNow = (): Record<string, string> =>
  Object.fromEntries(
    KUBELET_SYSCTLS.map((path) => [path, readSysctl(path)] as const).filter(
      (pair): pair is readonly [string, string] => pair[1] !== undefined,
    ),
  );

const isReady = (node: V1Node): boolean =>
  node.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;

export const getNodes = async (): Promise<V1Node[]> => {
  const text = await apiGet('/api/v1/nodes');
  return text === undefined ? [] : (JSON.parse(text) as V1NodeList).items;
};

const allAlive = (): boolean => {
  const processes = Object.values(readState().processes);
  return processes.length > 0 && processes.every(isAlive) && NODES.every((node) => initPid(node) !== undefined);
};

/**
 * Everything that was started lives, and both nodes say Ready within `patienceMs`: on a busy machine a node may miss
 * its heartbeat for a while, which is no reason to tear the cluster down.
 */
export const isHealthy = async (patienceMs = 0): Promise<boolean> => {
  const ready = await poll(patienceMs, 500, async () => {
    if (!allAlive()) return false;
    const nodes = await getNodes();
    return nodes.length === NODES.length && nodes.every(isReady) ? true : undefined;
  });
  return ready ?? false;
};

const nodesReady = async (): Promise<void> => {
  const ready = await poll(90_000, 250, async () =>
    (await getNodes()).filter(isReady).length === NODES.length ? true : undefined,
  );
  if (!ready) throw new ShadowError('SHADOW_E_INTERNAL', `the nodes do not get ready, logs in ${join(RUN, 'logs')}`);
};

const startAll = async (state: State, parts: Parts, host: Host, rabbitmq: Series, say: Say): Promise<void> => {
  for (const node of NODES) layOutNode(state, node, parts, host);
  await Promise.all([writePki(PKI), buildNetwork()]);
  await startBroker(state, rabbitmq);
  say('network and certificates are there');
  await startControlPlane(state, parts);
  say('API server is up');
  for (const node of NODES) startNode(state, node, parts);
  await Promise.all([
    applyBase(parts),
    Promise.all(NODES.map(containerdReady)).then(async () => {
      await importEverywhere(await pauseImage(parts.pause));
      await loadImages(parts, say);
    }),
    nodesReady().then(() => say('both nodes are ready')),
    brokerReady().then(() => say('RabbitMQ is up')),
  ]);
};

/** Waits until a node that was powered on is Ready: said by the kubelet it has now, not by the one it had. */
export const nodeReady = async (node: NodeName, since: number): Promise<void> => {
  const ready = await poll(90_000, 250, async () => {
    const found = (await getNodes()).find(({ metadata }) => metadata?.name === node);
    const condition = found?.status?.conditions?.find(({ type }) => type === 'Ready');
    const told = new Date(condition?.lastHeartbeatTime ?? 0).getTime();
    // Stamps of the API are whole seconds.
    return condition?.status === 'True' && told >= since - 1000 ? true : undefined;
  });
  if (!ready) throw new ShadowError('SHADOW_E_INTERNAL', `${node} does not get ready, logs in ${join(RUN, 'logs')}`);
};

/** For a machine without kubectl; `down` takes it away. */
const linkKubectl = async (state: State, parts: Parts): Promise<void> => {
  const link = '/usr/local/bin/kubectl';
  const { code } = await run(['sh', '-c', 'command -v kubectl']);
  if (code === 0) return;
  state.made.push(link);
  writeState(state);
  symlinkSync(join(parts.kubernetes, 'kubectl'), link);
};

/**
 * From whatever is there to a healthy cluster with our images on its nodes. Harmless on a healthy one, where only a broker of
 * another series than asked for is replaced; anything else is cleaned away first.
 */
export const bringUp = async (say: Say, rabbitmq?: Series): Promise<Parts> => {
  const host = await checkHost(say);
  const parts = await obtainParts(say);
  if (rabbitmq !== undefined) await installation(rabbitmq);
  if (await isHealthy(30_000)) {
    say('the playground is up already');
    if (rabbitmq !== undefined && rabbitmq !== brokerSeries()) {
      await restartBroker(rabbitmq);
      say(`RabbitMQ is now of series ${rabbitmq}`);
    }
    await loadImages(parts, say);
    return parts;
  }
  const left = await clean();
  if (left.length > 0) say(`cleaned up after an earlier run: ${left.join(', ')}`);
  mkdirSync(RUN, { recursive: true, mode: 0o700 });
  const state = { ...emptyState(), sysctls: sysctlsNow() };
  writeState(state);
  // `ip netns` and `mount` make these; only then are they ours to remove.
  for (const path of ['/run/netns', '/run/mount']) makeDir(state, path);
  writeFileSync(join(RUN, 'parts.json'), JSON.stringify(parts));
  await linkKubectl(state, parts);
  await startAll(state, parts, host, rabbitmq ?? '3', say);
  return parts;
};
