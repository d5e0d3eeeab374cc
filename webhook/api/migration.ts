/** StatefulMigration, migration.ms2m.io/v1alpha1: the paper's kind, with our fields added. */
import type { ErrorCode } from './errors.ts';
import type { Rehearsal } from './rehearsal.ts';

export const GROUP = 'migration.ms2m.io';
export const VERSION = 'v1alpha1';
export const PLURAL = 'statefulmigrations';
export const KIND = 'StatefulMigration';
export const API_VERSION = `${GROUP}/${VERSION}`;

/** `Auto`, `StopAndCopy`, `ShadowPodSwap` are ours; `ShadowPod` and `Sequential` are the paper's. */
export const STRATEGIES = ['Auto', 'StopAndCopy', 'ShadowPodSwap', 'ShadowPod', 'Sequential'] as const;
export type Strategy = (typeof STRATEGIES)[number];
/** The reference's, of apps that are moved without the sidecar (docs/ms2m.md). Empty: Cutoff. */
export const REPLAY_MODES = ['Cutoff', 'Drain'] as const;
/** `Registry` and `Direct` are the reference's, `Agent` is ours. Empty: Agent. */
export const TRANSFER_MODES = ['Registry', 'Direct', 'Agent'] as const;
export type TransferMode = (typeof TRANSFER_MODES)[number];
export const IDENTITY_SWAP_MODES = ['None', 'Cutoff', 'ExchangeFence'] as const;
export const DRIVERS = ['runc', 'kubelet'] as const;
export type Driver = (typeof DRIVERS)[number];
export const ON_DIVERGENCE = ['Abort', 'Report'] as const;
export type OnDivergence = (typeof ON_DIVERGENCE)[number];

export const PHASES = [
  'Pending',
  'Checkpointing',
  'Transferring',
  'Restoring',
  'Replaying',
  'Finalizing',
  'Completed',
  'Failed',
  'Aborted',
  'Checked',
  'Rehearsing',
  'Rehearsed',
] as const;
/** For people, derived from the handoffs; programs read conditions. */
export type Phase = (typeof PHASES)[number];
export const ENDED: readonly Phase[] = ['Completed', 'Failed', 'Aborted', 'Checked', 'Rehearsed'];

export interface MigrationSpec {
  /** The pod to migrate, in the migration's namespace. */
  sourcePod?: string;
  /** The reference's field: must be one of the pod's; all its app containers move, whichever is named. */
  containerName?: string;
  /** Empty: the controller chooses another node. */
  targetNode?: string;
  /** Where transferMode Registry puts checkpoints: [http://|https://]HOST[:PORT]/PATH (webhook/api/image.ts). */
  checkpointImageRepository?: string;
  replayCutoffSeconds?: number;
  replayMode?: (typeof REPLAY_MODES)[number] | '';
  transferMode?: TransferMode | '';
  identitySwapMode?: (typeof IDENTITY_SWAP_MODES)[number] | '';
  /** Empty: Auto. */
  migrationStrategy?: Strategy | '';
  messageQueueConfig?: { queueName?: string; brokerUrl?: string; exchangeName?: string; routingKey?: string };
  /** Ours. Who makes the checkpoint; default runc. */
  checkpointDriver?: Driver;
  /** Ours. What to do when the copy's app does otherwise than the source's; default Abort (Auto then takes StopAndCopy). */
  onDivergence?: OnDivergence | '';
  /** Ours. true asks for an abort; refused after the commit. */
  abort?: boolean;
  /** Ours. true: only looked at (see Aspect), whatever else it says; nothing is touched, and it may be deleted at any time. */
  dryRun?: boolean;
  /**
   * Ours. true: the pod is copied beside its serving source, the copy plays the record for a while and is removed; it is never
   * committed. What was measured is in status.rehearsal. Not together with dryRun, and not to be changed.
   */
  rehearse?: boolean;
  /** Ours. Of a rehearsal: longest time the copy plays, 1 to MOST_REHEARSE_SECONDS; default REHEARSE_SECONDS. */
  rehearseSeconds?: number;
}

/**
 * Steps of one handoff, in order. Before `Committed` everything can be undone; `Committed` is reached by one status
 * write alone (invariant 5).
 *
 * Mode `stop`: Warming, Muting, Cutting, Transferring, Restoring, Attaching. Mode `replay`: Warming, Cutting, Transferring,
 * Restoring, Replaying, Muting, Attaching; and Switching after Settling.
 *
 * Warming: the copy's pod exists and waits in the runtime handler. Muting: the source's sidecar stops talking for the app.
 * Cutting: frozen, paused, dumped. Transferring, Restoring. Attaching: the copy has its connections open, consumes nothing.
 * Replaying: the copy catches up by the record of the serving source. Committed: the copy is going live. Settling: carried
 * deliveries are settled through the source. Switching: Services turn to the copy. Retiring: the source goes.
 */
export const STEPS = [
  'Warming',
  'Muting',
  'Cutting',
  'Transferring',
  'Restoring',
  'Replaying',
  'Attaching',
  'Committed',
  'Settling',
  'Switching',
  'Retiring',
  'Done',
  'Aborting',
  'Aborted',
] as const;
export type Step = (typeof STEPS)[number];

export interface PodRef {
  name: string;
  /** Empty until the pod exists. */
  uid?: string;
  node: string;
  ip?: string;
}

/** The decision of a handoff: written once, with the resourceVersion read, by whoever is first (invariant 5). */
export interface Decision {
  verdict: 'commit' | 'abort';
  /** RFC 3339 with milliseconds. */
  at: string;
  /** Lease transitions of the controller that wrote it. */
  epoch: number;
  code?: ErrorCode;
  message?: string;
}

/** Of the sidecars' RecordReport and PlayReport (webhook/api/control.ts). */
export interface Replay {
  /** When it was seen, RFC 3339 with milliseconds. */
  at: string;
  /** How the record travels. */
  link: 'direct' | 'relay';
  /** Deliveries a second handed to the source's app. */
  sourceRate: number;
  /** Share of the copy's pace at which the source is served; 1: not throttled. */
  throttle: number;
  recorded: number;
  played: number;
  /** Recorded outputs the copy's app has not made yet, and what has not reached it. */
  lag: number;
  matched: number;
  waiting: number;
  diverged: number;
  divergence?: string;
}

/**
 * What was seen of a handoff while it ran, for people; nothing is decided by it. Columns of equal length, one entry a look,
 * oldest first; -1: not known at that look. Bounded (webhook/controller/series.ts), thinned so that it covers the whole time;
 * what only a leader that died had seen is missing.
 */
export interface Series {
  /** Milliseconds since the migration's startTime, rising. */
  at: number[];
  /** Deliveries a second to the app of source and copy. */
  sourceRate: number[];
  copyRate: number[];
  /** As in Replay. Most and least since the look before. */
  lag: number[];
  throttle: number[];
  /** Milliseconds until this look in which the source recorded, the copy played nothing; 0: less than the sidecars tell apart. */
  sourceGap: number[];
  copyGap: number[];
}

/** The reference's names for the way home of a StatefulSet's pod, in order. */
export const SWAP_SUB_PHASES = [
  'PrepareSwap',
  'ReCheckpoint',
  'SwapTransfer',
  'CreateReplacement',
  'MiniReplay',
  'TrafficSwitch',
] as const;
export type SwapSubPhase = (typeof SWAP_SUB_PHASES)[number];

/** What took part, as preflight found it. */
export interface Versions {
  controller: string;
  /** Of the source, which its copy has too. */
  sidecar?: string;
  /** Source's node first. */
  nodes: { name: string; kernel: string; containerd: string; runc: string; criu: string }[];
}

/** Where the work on the queues of an app without the sidecar is. Steps: webhook/controller/ms2m/plan.ts. */
export interface QueueProgress {
  step: string;
  /** When it was entered, RFC 3339 with milliseconds. */
  at: string;
  /** The source is to go on as if nothing had been. */
  undoing?: boolean;
  done?: boolean;
}

export interface Handoff {
  /** 0: pod → shadow (to the target node). 1: shadow → successor (on the target node). */
  index: number;
  claim: string;
  source: PodRef;
  copy: PodRef;
  step: Step;
  /** Absent: stop. */
  mode?: 'stop' | 'replay';
  /** Mode replay: as last seen. */
  replay?: Replay;
  /** ShadowPod of a pod without the sidecar. */
  queues?: QueueProgress;
  series?: Series;
  /** RFC 3339 with milliseconds, when each step was entered. */
  entered: Partial<Record<Step, string>>;
  /** Raised at every attempt to freeze. */
  freezeGeneration?: number;
  decision?: Decision;
  /** Unsettled deliveries that came over with the copy. */
  carried?: number;
  /** Bytes of the checkpoint, all containers. */
  bytes?: number;
  /** The image it travels by; `left`: why it is still in its registry or image store after the handoff. */
  image?: { reference: string; left?: string };
  /** Milliseconds the app was paused by the cut until the copy's restore, as seen by the agents. */
  pausedMs?: number;
  /** Of a rehearsal: when the copy had first caught up, and a migration would have gone on. RFC 3339 with milliseconds. */
  caughtUpAt?: string;
  /** Attempts at this handoff so far, from 1. */
  attempt: number;
  /**
   * For the restore webhook. How the sidecar runs in the copy: first ordinary container (default; the kubelet starts all in
   * one pass) or native sidecar.
   */
  sidecarForm?: 'init' | 'container';
  /** For the restore webhook: controller-revision-hash of the source; a successor of another revision is refused. */
  revision?: string;
}

export interface Condition {
  type: 'Preflight' | 'Progressing' | 'Committed' | 'Complete';
  status: 'True' | 'False' | 'Unknown';
  reason: string;
  message: string;
  observedGeneration?: number;
  lastTransitionTime: string;
}

/**
 * What a dry run looks at. Pod: is it there, injected, running and ready. Spec: what of its containers and volumes can't be
 * moved. Owner: who makes it again. Session: its AMQP connections. Processes: what they hold. Strategy, Nodes. Transfer: could
 * the checkpoint go as it is asked for (absent in mode Agent). Admission: would the API server take the copy.
 */
export const ASPECTS = [
  'Pod',
  'Spec',
  'Owner',
  'Session',
  'Processes',
  'Strategy',
  'Nodes',
  'Transfer',
  'Admission',
] as const;
export type AspectName = (typeof ASPECTS)[number];
/** Warning: it would be migrated, and something is lost by it or may come otherwise. Unknown: it could not be looked at. */
export const VERDICTS = ['Fit', 'Warning', 'Unfit', 'Unknown'] as const;

export interface Aspect {
  aspect: AspectName;
  verdict: (typeof VERDICTS)[number];
  /** Of Unfit: what a migration would be refused by. */
  code?: ErrorCode;
  /** One line each, for people: what was found, and of Unknown why nothing was. */
  findings: string[];
}

export interface MigrationStatus {
  phase?: Phase;
  observedGeneration?: number;
  sourceNode?: string;
  targetNode?: string;
  checkpointID?: string;
  targetPod?: string;
  replacementPod?: string;
  containerName?: string;
  strategy?: Strategy;
  /** Why the strategy was chosen, one line. */
  strategyReason?: string;
  /** How the checkpoint travels, who restores it, and why; one line. Absent: from agent to agent. */
  transferReason?: string;
  conditions?: Condition[];
  startTime?: string;
  completionTime?: string;
  /** Phase → Go duration string, e.g. "1.25s". */
  phaseTimings?: Record<string, string>;
  statefulSetName?: string;
  deploymentName?: string;
  originalReplicas?: number;
  sourcePodLabels?: Record<string, string>;
  sourceContainers?: { name: string; image: string }[];
  /** For people, derived from the second handoff; absent before and after it. */
  swapSubPhase?: SwapSubPhase;
  versions?: Versions;
  handoffs?: Handoff[];
  /** Code of the error that ended it; of a dry run the first that a migration would be refused by. */
  error?: { code: ErrorCode; message: string };
  /** Of a dry run, in the order of ASPECTS. */
  assessment?: Aspect[];
  /** Of a dry run: nodes that could take the pod. */
  fitNodes?: string[];
  /** Of a rehearsal, from its beginning on; its numbers come with its end. */
  rehearsal?: Rehearsal;
}

export interface StatefulMigration {
  apiVersion?: string;
  kind?: string;
  metadata: {
    name: string;
    namespace: string;
    uid: string;
    resourceVersion: string;
    generation?: number;
    creationTimestamp?: string | Date;
    deletionTimestamp?: string | Date;
    finalizers?: string[];
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  spec: MigrationSpec;
  status?: MigrationStatus;
}

export const isEnded = (migration: Pick<StatefulMigration, 'status'>): boolean =>
  migration.status?.phase !== undefined && ENDED.includes(migration.status.phase);

/** A Go duration string of whole milliseconds: 1250 → "1.25s". */
export const goDuration = (ms: number): string => `${Math.round(ms) / 1000}s`;
