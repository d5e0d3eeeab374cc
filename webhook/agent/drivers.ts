/** Who makes the checkpoint. Both leave `<images>/<container>/checkpoint` and the changed files beside it. */
import type { RunningContainer } from './containers.ts';

export interface Dump {
  containers: readonly RunningContainer[];
  /** Directories on the node: what travels, and what does not (logs). */
  images: string;
  work: string;
  pod: { namespace: string; name: string };
}

/** A dump whose tools are started, as far as that goes before the containers stand still. */
export interface Armed {
  dump(): Promise<void>;
  /** Nothing is dumped, nothing of it is left running. */
  drop(): Promise<void>;
}

export interface Driver {
  /** Whether the containers are paused by us while it dumps; the kubelet refuses paused containers. */
  readonly paused: boolean;
  arm(dump: Dump): Promise<Armed>;
}
