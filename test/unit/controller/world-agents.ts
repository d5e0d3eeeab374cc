import type { V1Node } from '@kubernetes/client-node';
import type { AgentCall, AgentClient, Image } from '../../../webhook/api/agent.ts';
import { ShadowError } from '../../../webhook/api/errors.ts';
import type { Agents } from '../../../webhook/controller/context.ts';
import type { World } from './world.ts';
import { REGISTRY_RULES } from './world-registry.ts';
import { copySettles } from './world-rules.ts';

export interface Staged {
  copy: string;
  /** uid of the pod whose container waits in the handler. */
  pod?: string;
  cancelled: boolean;
  restored: boolean;
  fence: boolean;
}
export const nodeOf = (name: string): V1Node => ({
  metadata: { name, labels: {} },
  status: {
    allocatable: { cpu: '4', memory: '4Gi', pods: '110' },
    conditions: [{ type: 'Ready', status: 'True' }],
  },
});

export interface Checkpoint {
  process: string;
  generation: number;
  carried: number;
  /** Mode replay: the record that begins at this very cut. */
  record?: number | undefined;
}
export interface NodeState {
  name: string;
  staged: Map<string, Staged>;
  /** Its image store is out of reach. */
  storeless?: boolean;
  images: Map<string, Checkpoint>;
  cuts: Map<string, Checkpoint & { pod: string }>;
}

export type Call = {
  claim: string;
  pod: { uid: string };
  copy: { name: string; uid: string };
  freezeGeneration: number;
  resume?: boolean;
  fence?: boolean;
  forwards: readonly unknown[];
  ports: readonly number[];
  target: { node: string };
  atLeast?: number;
  image: Image;
  digest?: string;
};
const NODE = {
  arch: 'x64',
  kernel: '6',
  containerd: '2.3.7',
  runc: '1.4.3',
  criu: '4.2.1',
  cpuFlags: ['sse'],
  freeBytes: 1e12,
  handlerInstalled: true,
};

const restoredContainers = { containers: [{ name: 'app', id: 'c1' }], ms: 1 };

const RULES: Record<AgentCall, (world: World, node: NodeState, call: Call) => unknown> = {
  node: (world, node) => ({ node: node.name, ...NODE, freeBytes: world.freeBytes }),
  examine: (world, node) => ({ node: node.name, ...NODE, criuCheck: '', checkpointApi: '', now: world.time }),
  inspect: (world) => ({ hazards: world.processHazards, peers: world.peers, estimatedBytes: world.estimatedBytes }),
  prepare: (_world, node, { claim, copy, fence = true }) => {
    if (!node.staged.has(claim)) node.staged.set(claim, { copy: copy.name, cancelled: false, restored: false, fence });
    return { present: true };
  },
  waiting: (_world, node, { claim }) => ({ waiting: node.staged.get(claim)?.pod !== undefined }),
  cut: (world, node, { claim, pod, freezeGeneration, resume = false }) => {
    const sidecar = world.sidecars.get(pod.uid);
    if (sidecar === undefined) throw new ShadowError('SHADOW_E_CHECKPOINT', 'no such pod');
    if (node.cuts.get(claim)?.generation !== freezeGeneration) {
      if (!world.bare && sidecar.frozen !== freezeGeneration) {
        // as long as it waits for the marker
        world.time += 3_000;
        throw new ShadowError('SHADOW_E_FREEZE', 'it was awake', { retryable: true });
      }
      if (sidecar.state !== (resume && !world.bare ? 'recording' : 'mute')) world.violate(`cut while ${sidecar.state}`);
      const { process, carried, record } = sidecar;
      node.cuts.set(claim, { pod: pod.uid, process, generation: freezeGeneration, carried, record });
      if (!resume) Object.assign(sidecar, { app: 'paused', fenced: true });
    }
    delete sidecar.frozen;
    sidecar.thaw = freezeGeneration;
    return { bytes: 1000, pausedAt: '', pauseMs: 5, dumpMs: 5 };
  },
  ...REGISTRY_RULES,
  arm: () => ({}),
  precopy: (world, _node, { atLeast = 0 }) => {
    const { estimatedBytes } = world;
    const bytes = estimatedBytes < atLeast ? 0 : estimatedBytes;
    world.sentAhead.push(bytes);
    return { bytes, ms: 0 };
  },
  send: (world, node, { claim, target }) => {
    const cut = node.cuts.get(claim);
    if (cut === undefined) throw new ShadowError('SHADOW_E_TRANSFER', 'nothing to send');
    world.nodes[target.node]?.images.set(claim, cut);
    return { bytes: 1000, files: 1, ms: 1 };
  },
  tryImageStore: (_world, node) => {
    if (node.storeless) throw new ShadowError('SHADOW_E_NODE_UNFIT', 'its image store: no such socket');
    return {};
  },
  sendImage: (world, node, { claim, target }) => {
    const cut = node.cuts.get(claim);
    if (cut === undefined) throw new ShadowError('SHADOW_E_TRANSFER', 'nothing to send');
    world.nodes[target.node]?.images.set(claim, cut);
    return { bytes: 1000, files: 1, ms: 1 };
  },
  restore: (world, node, { claim, copy, freezeGeneration }) => {
    const [staged, image] = [node.staged.get(claim), node.images.get(claim)];
    if (staged?.restored) return restoredContainers;
    if (staged?.pod === undefined && !staged?.cancelled)
      throw new ShadowError('SHADOW_E_RESTORE', 'it does not wait yet', { retryable: true });
    if (staged?.pod !== copy.uid || image === undefined || staged.cancelled)
      throw new ShadowError('SHADOW_E_RESTORE', 'it does not wait');
    if (image.generation !== freezeGeneration) world.violate('restored another generation');
    staged.restored = true;
    const { process, carried, record } = image;
    world.sidecars.set(copy.uid, {
      state: world.bare ? 'mute' : 'copy',
      process,
      carried,
      app: 'running',
      fenced: staged.fence,
      record,
    });
    return restoredContainers;
  },
  cancel: (_world, node, { claim }) => {
    const staged = node.staged.get(claim);
    if (staged !== undefined && !staged.restored) {
      staged.cancelled = true;
      delete staged.pod;
    }
    return {};
  },
  unfence: (world, _node, { claim, pod }) => {
    if (world.verdict(claim) !== 'commit') world.violate('unfenced without a commit');
    const sidecar = world.sidecars.get(pod.uid);
    if (sidecar !== undefined) sidecar.fenced = false;
    return {};
  },
  fence: (world, _node, { claim, pod }) => {
    const sidecar = world.sidecars.get(pod.uid);
    if (sidecar === undefined) throw new ShadowError('SHADOW_E_POD_NOT_RUNNING', 'no such pod');
    if (!['recording', 'mute'].includes(sidecar.state) || sidecar.claim !== claim)
      world.violate(`fenced while ${sidecar.state}`);
    sidecar.fenced = true;
    return {};
  },
  forward: (world, _node, { claim, pod, forwards }) => {
    const sidecar = world.sidecars.get(pod.uid);
    if (sidecar === undefined) throw new ShadowError('SHADOW_E_POD_NOT_RUNNING', 'no such pod');
    if (world.verdict(claim) !== 'commit') world.violate('passed on without a commit');
    if (forwards.length > 0 && !sidecar.forwards) world.violate('turned to a sidecar that passes nobody on');
    if (world.meshed) throw new ShadowError('SHADOW_E_UNSUPPORTED', 'rules of others');
    sidecar.turned = forwards.length > 0;
    return world.open === undefined ? {} : { open: world.open };
  },
  divert: (world, _node, { claim, pod, ports }) => {
    const sidecar = world.sidecars.get(pod.uid);
    if (sidecar === undefined) throw new ShadowError('SHADOW_E_POD_NOT_RUNNING', 'no such pod');
    if (world.verdict(claim) !== 'commit') world.violate('sent on without a commit');
    if (`${ports}` !== '8080') world.violate(`sent on from port ${ports}`);
    if (world.meshed) throw new ShadowError('SHADOW_E_UNSUPPORTED', 'rules of others');
    sidecar.diverted = true;
    return {};
  },
  still: (world, _node, { claim, pod }) => {
    if (world.verdict(claim) !== 'commit') world.violate('held still without a commit');
    const sidecar = world.sidecars.get(pod.uid);
    if (!sidecar?.diverted) return { still: false };
    Object.assign(sidecar, { app: 'killed', held: true });
    return { still: true };
  },
  resume: (world, _node, { claim, pod }) => {
    if (world.verdict(claim) !== 'abort') world.violate('resumed without an abort');
    const sidecar = world.sidecars.get(pod.uid);
    if (sidecar !== undefined) Object.assign(sidecar, { app: 'running', fenced: false });
    return {};
  },
  kill: (world, _node, { claim, pod }) => {
    if (world.verdict(claim) !== 'commit') world.violate('killed without a commit');
    const sidecar = world.sidecars.get(pod.uid);
    if (sidecar?.outstanding && copySettles(world, claim)) world.violate('killed with deliveries outstanding');
    if (world.served && sidecar?.diverted) world.violate('killed, and who is sent on through its network with it');
    if (sidecar !== undefined) sidecar.app = 'killed';
    return {};
  },
  clean: (world, node, { claim }) => {
    const staged = node.staged.get(claim);
    if (staged?.pod !== undefined && !staged.restored) world.violate('cleaned under a waiting handler');
    const cut = node.cuts.get(claim);
    if (cut !== undefined && world.sidecars.get(cut.pod)?.app === 'paused') world.violate('cleaned under a paused app');
    for (const map of [node.staged, node.images, node.cuts]) map.delete(claim);
    return {};
  },
};

export const createAgentsOf = (world: World): Agents => ({
  of: (name) => {
    const ask = (call: AgentCall, given: Call) => {
      const node = world.nodes[name];
      if (node === undefined) throw new ShadowError('SHADOW_E_AGENT_UNREACHABLE', name, { retryable: true });
      return RULES[call](world, node, given);
    };
    return Object.fromEntries(
      (Object.keys(RULES) as AgentCall[]).map((call) => [
        call,
        (given: unknown) => world.call(`agent.${call}`, () => ask(call, given as Call)),
      ]),
    ) as unknown as AgentClient;
  },
  url: (name) => name,
});
