/** A registry that all nodes of the world reach, and what the agents do with it. */
import { ShadowError } from '../../../webhook/api/errors.ts';
import type { World } from './world.ts';
import type { Call, Checkpoint, NodeState } from './world-agents.ts';

export interface Registry {
  /** By digest. */
  readonly images: Map<string, Checkpoint & { pod: string }>;
  deletes: boolean;
  /** What it takes; undefined: anybody. */
  password?: string;
  /** Nodes that can't reach it. */
  unreachableFrom?: readonly string[];
}

const check = ({ registry }: World, node: NodeState, { image }: Call): void => {
  if (registry.unreachableFrom?.includes(node.name))
    throw new ShadowError('SHADOW_E_REGISTRY', 'no answer', { retryable: true });
  if (registry.password !== undefined && image.password !== registry.password)
    throw new ShadowError('SHADOW_E_REGISTRY_ACCESS', 'answered 401');
};

/** One image a cut: the generation names it. */
const digestOf = (generation: number): string => `sha256:${generation.toString(16).padStart(64, '0')}`;

export const REGISTRY_RULES = {
  tryRegistry: (world: World, node: NodeState, call: Call) => {
    check(world, node, call);
    return {};
  },
  push: (world: World, node: NodeState, call: Call) => {
    check(world, node, call);
    const cut = node.cuts.get(call.claim);
    if (cut === undefined) throw new ShadowError('SHADOW_E_TRANSFER', 'nothing to push');
    world.registry.images.set(digestOf(cut.generation), cut);
    return { digest: digestOf(cut.generation), bytes: 1000, ms: 1 };
  },
  pull: (world: World, node: NodeState, call: Call) => {
    check(world, node, call);
    const image = world.registry.images.get(call.digest ?? '');
    if (image === undefined) throw new ShadowError('SHADOW_E_TRANSFER', 'no such image');
    node.images.set(call.claim, image);
    return { bytes: 1000, files: 1, ms: 1 };
  },
  unpush: (world: World, node: NodeState, call: Call) => {
    try {
      check(world, node, call);
    } catch (error) {
      return { left: (error as Error).message };
    }
    const cut = node.cuts.get(call.claim);
    const digest = call.digest ?? (cut === undefined ? '' : digestOf(cut.generation));
    if (!world.registry.deletes && world.registry.images.has(digest)) return { left: 'answered 405' };
    world.registry.images.delete(digest);
    return { left: '' };
  },
} as const;
