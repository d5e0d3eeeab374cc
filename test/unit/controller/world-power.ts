/** A node without power: nobody there answers, its pods stay on record, and what a process knew is gone. Its disk stays. */

import type { World } from './world.ts';
import type { NodeState } from './world-agents.ts';
import type { Sidecar } from './world-sidecars.ts';

interface Dark {
  disk: NodeState;
  /** By uid of the pod: what its sidecar was. */
  were: Map<string, Sidecar>;
}

const ready = (world: World, name: string, status: 'True' | 'Unknown'): void => {
  const node = world.kubeNodes.find(({ metadata }) => metadata?.name === name);
  node!.status!.conditions = [{ type: 'Ready', status }];
};

export const cutPower = (world: World, name: string): Dark => {
  const disk = world.nodes[name]!;
  delete world.nodes[name];
  const were = new Map<string, Sidecar>();
  for (const pod of world.pods.values()) {
    const uid = pod.metadata?.uid ?? '';
    const sidecar = world.sidecars.get(uid);
    if (pod.spec?.nodeName !== name || sidecar === undefined) continue;
    were.set(uid, sidecar);
    world.sidecars.delete(uid);
  }
  return { disk, were };
};

/** The API server misses the kubelet. */
export const miss = (world: World, name: string): void => ready(world, name, 'Unknown');

/** Pods that are still on record start anew, with empty memory: mute where a marker says so. */
export const powerOn = (world: World, name: string, { disk, were }: Dark): void => {
  world.nodes[name] = disk;
  ready(world, name, 'True');
  for (const pod of world.pods.values()) {
    const uid = pod.metadata?.uid ?? '';
    const before = were.get(uid);
    if (before === undefined) continue;
    const { claim } = before;
    const marked = ['mute', 'superseded', 'closed'].includes(before.state);
    const now: Sidecar = { state: 'idle', process: `again-${uid}`, carried: 0, app: 'running', fenced: false };
    const mute = { state: 'mute' as const, lost: 'the sidecar restarted', ...(claim === undefined ? {} : { claim }) };
    world.sidecars.set(uid, marked ? { ...now, ...mute } : now);
  }
};
