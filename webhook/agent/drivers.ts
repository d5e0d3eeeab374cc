/** Who makes the checkpoint. Both leave `<images>/<container>/checkpoint` and the changed files beside it. */
import type { RunningContainer } from './containers.ts';

export interface Dump {
  containers: readonly RunningContainer[];
  /** Directories on the node: what travels, and what does not (logs). */
  images: string;
  work: string;
  pod: { namespace: string; name: string };
}

export interface Driver {
  /** Whether the containers are paused by us while it dumps; the kubelet refuses paused containers. */
  readonly paused: boolean;
  dump(dump: Dump): Promise<void>;
}
