/**
 * What a step may touch: narrow interfaces, so that a simulated world can drive and crash the real steps at every call.
 * Every method but the ones marked "as watched" is I/O.
 */
import type {
  V1ConfigMap,
  V1Deployment,
  V1EndpointSlice,
  V1MutatingWebhookConfiguration,
  V1Node,
  V1Pod,
  V1ReplicaSet,
  V1Secret,
  V1Service,
  V1StatefulSet,
} from '@kubernetes/client-node';
import type { AgentClient } from '../api/agent.ts';
import type { CommandType, PlayReport, RecordReport, SidecarState } from '../api/control.ts';
import type { StatefulMigration } from '../api/migration.ts';
import type { CommandOf, CommandResult } from './hub/session.ts';
import type { QueueWork } from './ms2m/work.ts';
import type { Look } from './series.ts';

export interface Session {
  state: SidecarState;
  claim?: string | undefined;
  /** Random per sidecar process; a restored copy keeps its source's. */
  process: string;
  /** Of the sidecar. */
  version?: string | undefined;
  protocol?: number | undefined;
  outstanding?: number | undefined;
  /** Mute, recording, replaying: why it can't be cut or replayed any more; its code, if it is one of the catalogue's. */
  lost?: string | undefined;
  code?: string | undefined;
  /** As last told. */
  record?: RecordReport | undefined;
  play?: PlayReport | undefined;
}

export interface Sidecars {
  /** As watched. */
  session(podUid: string): Session | undefined;
  command<T extends CommandType>(podUid: string, command: { type: T } & CommandOf<T>): Promise<CommandResult<T>>;
  route(claim: string, sourceUid: string, copyUid: string): void;
  unroute(claim: string): void;
  /** The source is gone for good: the broker has requeued what it held, the copy need not wait for it. */
  abandon(claim: string): void;
}

export interface Agents {
  /** Throws SHADOW_E_AGENT_UNREACHABLE, retryable, when the node has no ready agent. */
  of(node: string): AgentClient;
  /** Base URL of a node's agent, for its peers. */
  url(node: string): string;
}

export type EventType = 'Normal' | 'Warning';

export interface Cluster {
  /** As watched: every migration of the cluster. */
  migrations(): StatefulMigration[];
  readMigration(namespace: string, name: string): Promise<StatefulMigration | undefined>;
  /** With the resourceVersion of what is given; an ApiError 409 when it was overtaken. */
  writeStatus(migration: StatefulMigration): Promise<StatefulMigration>;
  writeFinalizers(migration: StatefulMigration, finalizers: string[]): Promise<StatefulMigration | undefined>;

  /** As watched. */
  pod(namespace: string, name: string): V1Pod | undefined;
  readPod(namespace: string, name: string): Promise<V1Pod | undefined>;
  /** undefined: a pod of that name exists already. */
  createPod(pod: V1Pod, options?: { dryRun: boolean }): Promise<V1Pod | undefined>;
  /** Nothing to do when it is gone, or another one has its name. */
  deletePod(namespace: string, name: string, uid: string, graceSeconds: number): Promise<void>;
  /** null removes. A pod that is gone is no error. */
  patchPod(
    namespace: string,
    name: string,
    metadata: { annotations?: Record<string, string | null>; labels?: Record<string, string | null> },
  ): Promise<void>;

  statefulSet(namespace: string, name: string): Promise<V1StatefulSet | undefined>;
  replicaSet(namespace: string, name: string): Promise<V1ReplicaSet | undefined>;
  deployment(namespace: string, name: string): Promise<V1Deployment | undefined>;
  services(namespace: string): Promise<V1Service[]>;
  endpointSlices(namespace: string): Promise<V1EndpointSlice[]>;
  listPods(namespace: string): Promise<V1Pod[]>;
  listAllPods(): Promise<V1Pod[]>;
  nodes(): Promise<V1Node[]>;

  /** Those of REGISTRY (names.ts), and what users have given the controller a Role for; an ApiError 403 for others. */
  readSecret(namespace: string, name: string): Promise<V1Secret | undefined>;
  readConfigMap(namespace: string, name: string): Promise<V1ConfigMap | undefined>;

  /** PEM of our CA. */
  caBundle(): Promise<string>;
  restoreConfig(): Promise<V1MutatingWebhookConfiguration | undefined>;
  /** Creates, or replaces with the resourceVersion given. */
  writeRestoreConfig(config: V1MutatingWebhookConfiguration): Promise<void>;
  /** With the resourceVersion of what is given. */
  deleteRestoreConfig(config: V1MutatingWebhookConfiguration): Promise<void>;

  /** Not awaited by anyone: an event that is lost is no harm. */
  event(
    about: { kind: 'StatefulMigration' | 'Pod'; namespace: string; name: string; uid: string },
    type: EventType,
    reason: string,
    message: string,
  ): void;
}

export interface Context {
  /** Milliseconds since 1970. */
  now(): number;
  /** Lease transitions of this leadership. */
  epoch: number;
  cluster: Cluster;
  sidecars: Sidecars;
  agents: Agents;
  /** Our namespace. */
  home: string;
  /** Of apps without the sidecar. */
  queueWork: QueueWork;
  /** What the dry-run pod names that proves the restore webhook. */
  probeImage: string;
  /** What this leader alone has done or seen, and when; a new leader does without. See steps/memory.ts. */
  memory: Map<string, number>;
  /** As seen by this leader of a claim, for the record to take up with writes that are made anyway. See trace.ts. */
  seen(claim: string): readonly Look[];
  log(fields: object, message: string): void;
}
