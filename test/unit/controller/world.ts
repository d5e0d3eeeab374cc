/**
 * A small cluster in memory that drives the real reconciler: API with resourceVersions, set's controller, kubelet, endpoints,
 * sidecars and agents as state machines that check their own rules. Time is the world's own. Every call may be cut short before or after it
 * took effect.
 */
import type { V1ConfigMap, V1MutatingWebhookConfiguration, V1Pod, V1Secret } from '@kubernetes/client-node';
import packageJson from '../../../package.json' with { type: 'json' };
import { type ErrorCode, ShadowError } from '../../../webhook/api/errors.ts';
import type { Handoff, StatefulMigration } from '../../../webhook/api/migration.ts';
import { ANNOTATION, REGISTRY } from '../../../webhook/api/names.ts';
import { PROTOCOL } from '../../../webhook/api/skew.ts';
import type { Context } from '../../../webhook/controller/context.ts';
import { createQueueWork } from '../../../webhook/controller/ms2m/work.ts';
import { reconcile } from '../../../webhook/controller/reconcile.ts';
import { ApiError } from '../../../webhook/controller/rest.ts';
import { Trace } from '../../../webhook/controller/trace.ts';
import { createAgentsOf, type NodeState, nodeOf } from './world-agents.ts';
import { createApi } from './world-api.ts';
import { NS, type OwnerKind, POD, podSpec, type Replicas, replicaSet, statefulSet } from './world-owners.ts';
import { BareQueues } from './world-queues.ts';
import type { Registry } from './world-registry.ts';
import { checkServed, checkVoice, sendTo } from './world-rules.ts';
import { createSidecars, play, type Sidecar, settle } from './world-sidecars.ts';
import { look } from './world-trace.ts';

export { POD, podSpec } from './world-owners.ts';

/** The process dies here: all it knew is gone. */
export class Crash extends Error {}

export type Hook = (name: string, when: 'before' | 'after', count: number) => void;

export const SHADOW = `${POD}-shadow`;

const clone = <T>(value: T): T => structuredClone(value);

export class World {
  time = 1_700_000_000_000;
  version = 100;
  calls = 0;
  epoch = 1;
  /** The controller has crashed: whatever it still tries does not happen. */
  dead = false;
  hook: Hook = () => {};
  readonly violations: string[] = [];
  readonly log: string[] = [];
  readonly migrations = new Map<string, StatefulMigration>();
  readonly pods = new Map<string, V1Pod>();
  readonly sidecars = new Map<string, Sidecar>();
  readonly nodes: Record<string, NodeState> = {};
  readonly kubeNodes = [nodeOf('one'), nodeOf('two')];
  readonly kind: OwnerKind;
  /** Name of the pod there is at first, and the process whose memory is to survive. */
  readonly pod: string;
  readonly original: string;
  /** What the agents see of the app. */
  peers: string[] = [];
  /** What of the source's processes can't be checkpointed, and what its sidecar can't hand over. */
  processHazards: string[] = [];
  sessionHazards: string[] = [];
  /** What every sidecar says of itself. */
  spoken: { version?: string; protocol?: number } = { version: packageJson.version, protocol: PROTOCOL };
  /** The app says that what it does outside may be done twice. */
  idempotent = false;
  /** A number for each record begun. */
  records = 0;
  /** So many replays of claims that begin so end in this. */
  diverging: { count: number; claim: string; code: ErrorCode } = { count: 0, claim: '', code: 'SHADOW_E_DIVERGED' };
  /** So many looks the copies take without getting nearer. */
  behind = 0;
  /** Outputs that a copy makes at each look, and that its source has made too. */
  matching = 0;
  /** Names of pods whose app says that it is not ready, and for how many milliseconds after it could be. */
  readonly unready = new Map<string, number>();
  /** What the Service sends to: a moment behind what the pods say of themselves. */
  readonly endpoints = new Map<string, boolean>();
  /** When the Service last sent to a pod, by uid. */
  readonly lastSent = new Map<string, number>();
  /** So long the kubelet makes a pod's sandbox, and since when, by uid. */
  sandboxMs = 0;
  private readonly seen = new Map<string, number>();
  /** So long after it was told to be unready the kubelet looks. */
  probeMs = 0;
  /** The source can reach its copy; and there are rules of others in the pods' networks. */
  reachable = true;
  meshed = false;
  /** Connections that a source's app has when they are turned; undefined: its agent tells of none. */
  open: number | undefined = 1;
  /** When it last began to send to one more. */
  joined = 0;
  /** So many looks a copy that has settled all stays live. */
  lingering = 0;
  /** To be checked: that the Service is never without anybody. */
  served = false;
  /** Beside the migrations; of the Secrets the controller may read only some. */
  readonly secrets = new Map<string, V1Secret>();
  readonly configMaps = new Map<string, V1ConfigMap>();
  readonly readable: string[] = [REGISTRY.secret];
  /** Of each node. */
  freeBytes = 1e12;
  /** What the pod holds, and how much of it was sent ahead, call by call. */
  estimatedBytes = 1e9;
  readonly sentAhead: number[] = [];
  readonly events: string[] = [];
  registry: Registry = { images: new Map(), deletes: true };
  restoreConfig: V1MutatingWebhookConfiguration | undefined;
  /** The API server has seen it. */
  heeded = true;
  /** Pods that restore nothing and start with empty memory. */
  fresh = 0;
  /** Lost with the leader; the record of a claim comes this way. */
  readonly routes = new Map<string, { copyUid: string; abandoned: boolean }>();

  readonly memory = new Map<string, number>();
  /** Lost with the leader, too. */
  trace = new Trace();
  private readonly owner: Replicas;

  /** Its pods have no sidecar; what stands for one here is the app, which is idle, or mute: parked. */
  readonly bare: boolean;

  constructor(kind: OwnerKind = 'StatefulSet', bare = false) {
    this.bare = bare;
    for (const name of ['one', 'two'])
      this.nodes[name] = { name, staged: new Map(), images: new Map(), cuts: new Map() };
    this.kind = kind;
    this.owner = kind === 'StatefulSet' ? statefulSet : replicaSet;
    const first = podSpec(kind, undefined, bare);
    this.pod = first.metadata?.name ?? '';
    this.start(first, 'one');
    this.original = [...this.sidecars.values()][0]?.process ?? '';
    this.fresh = 0;
    this.tick();
  }

  violate(text: string): void {
    this.violations.push(`${text} (call ${this.calls}: ${this.log.at(-1)})`);
  }

  next(): string {
    return `${++this.version}`;
  }

  handoff(claim: string): Handoff | undefined {
    return [...this.migrations.values()]
      .flatMap(({ status }) => status?.handoffs ?? [])
      .find((handoff) => handoff.claim === claim);
  }

  /** Decisions as stored: what any rule about the commit is checked against. */
  verdict(claim: string): 'commit' | 'abort' | undefined {
    return this.handoff(claim)?.decision?.verdict;
  }

  migrate(name = 'm1', spec: StatefulMigration['spec'] = {}): void {
    this.migrations.set(name, {
      metadata: {
        name,
        namespace: NS,
        uid: `0000-${name.replaceAll(/\D/g, '')}`,
        resourceVersion: this.next(),
        generation: 1,
        creationTimestamp: new Date(this.time).toISOString(),
      },
      spec: { sourcePod: this.pod, targetNode: 'two', ...spec },
    });
  }

  get(name = 'm1'): StatefulMigration | undefined {
    return this.migrations.get(name);
  }

  change(name: string, edit: (migration: StatefulMigration) => void): void {
    const migration = this.migrations.get(name);
    if (migration === undefined) return;
    const changed = clone(migration);
    edit(changed);
    changed.metadata.resourceVersion = this.next();
    this.store(changed);
  }

  store(migration: StatefulMigration): void {
    const { name, deletionTimestamp, finalizers } = migration.metadata;
    if (deletionTimestamp !== undefined && (finalizers ?? []).length === 0) this.migrations.delete(name);
    else this.migrations.set(name, migration);
  }

  abort(): void {
    this.change('m1', (migration) => {
      migration.spec = { ...migration.spec, abort: true };
    });
  }

  remove(): void {
    this.change('m1', (migration) => {
      migration.metadata.deletionTimestamp = new Date(this.time).toISOString();
    });
  }

  /** A write of somebody else that means nothing. */
  touch(): void {
    this.change('m1', (migration) => {
      migration.metadata.labels = { touched: this.next() };
    });
  }

  // ---- pods
  put(pod: V1Pod): V1Pod {
    pod.metadata = { ...pod.metadata, uid: `u${this.next()}`, resourceVersion: this.next() };
    this.pods.set(pod.metadata.name ?? '', pod);
    return pod;
  }

  /** The kubelet runs it with empty memory. */
  start(pod: V1Pod, node: string): void {
    const made = this.put({ ...pod, spec: { ...pod.spec!, nodeName: node } });
    const uid = made.metadata?.uid ?? '';
    this.sidecars.set(uid, { state: 'idle', process: `p${uid}`, carried: 3, app: 'running', fenced: false });
    this.fresh++;
    this.settleStatusOf(made);
  }

  private settleStatusOf(pod: V1Pod): void {
    const sidecar = this.sidecars.get(pod.metadata?.uid ?? '');
    const parked = this.bare && sidecar?.app === 'running';
    const serving = sidecar?.serving || parked || (sidecar?.unreadyAt ?? 0) > this.time;
    const fit = sidecar !== undefined && (sidecar.state === 'idle' || sidecar.state === 'live' || serving);
    const name = pod.metadata?.name ?? '';
    const left = fit ? this.unready.get(name) : undefined;
    if (left !== undefined) this.unready.set(name, left - 500);
    const ready = fit && (left ?? 0) <= 0;
    pod.status = {
      phase: sidecar === undefined ? 'Pending' : 'Running',
      podIP: '10.0.0.1',
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
    };
  }

  /** Power loss: the pod and all it holds are gone. */
  lose(name: string): void {
    const uid = this.pods.get(name)?.metadata?.uid ?? '';
    this.pods.delete(name);
    this.sidecars.delete(uid);
    for (const node of Object.values(this.nodes))
      for (const staged of node.staged.values()) if (staged.pod === uid) delete staged.pod;
  }

  // ---- actors
  advance(ms: number): void {
    const until = this.time + Math.max(ms, 10);
    while (this.time < until) {
      this.time = Math.min(until, this.time + 500);
      this.tick();
    }
  }

  tick(): void {
    for (const [name, pod] of this.pods) {
      // A node without power confirms nothing.
      if (this.nodes[pod.spec?.nodeName ?? ''] === undefined) continue;
      if (pod.metadata?.deletionTimestamp !== undefined) this.lose(name);
      else this.kubelet(pod);
    }
    this.owner.act(this);
    settle(this);
    for (const sidecar of this.sidecars.values()) {
      if ((sidecar.wakes ?? 0) <= this.time) delete sidecar.frozen;
      play(this, sidecar);
    }
    look(this);
    sendTo(this);
    for (const pod of this.pods.values()) this.settleStatusOf(pod);
    checkVoice(this);
    checkServed(this);
  }

  private kubelet(pod: V1Pod): void {
    const uid = pod.metadata?.uid ?? '';
    const claim = pod.metadata?.annotations?.[ANNOTATION.restore];
    if (claim === undefined || this.sidecars.has(uid)) return;
    const seen = this.seen.get(uid) ?? this.time;
    this.seen.set(uid, seen);
    if (this.time - seen < this.sandboxMs) return;
    const staged = this.nodes[pod.spec?.nodeName ?? '']?.staged.get(claim);
    if (staged !== undefined && !staged.cancelled && staged.copy === pod.metadata?.name) staged.pod = uid;
  }

  // ---- what the reconciler sees
  async call<T>(name: string, act: () => T | Promise<T>): Promise<T> {
    if (this.dead) throw new Crash();
    const count = ++this.calls;
    this.log.push(name);
    this.strike(name, 'before', count);
    const result = await act();
    checkVoice(this);
    this.strike(name, 'after', count);
    return result;
  }

  private strike(name: string, when: 'before' | 'after', count: number): void {
    try {
      this.hook(name, when, count);
    } catch (error) {
      if (error instanceof Crash) this.dead = true;
      throw error;
    }
  }

  readonly queues = new BareQueues(this);

  context(): Context {
    return {
      now: () => this.time,
      epoch: this.epoch,
      home: 'shadow-system',
      probeImage: 'shadow:1',
      cluster: createApi(this),
      agents: createAgentsOf(this),
      sidecars: createSidecars(this, this.routes),
      queueWork: createQueueWork(
        async () => this.queues.broker(),
        async () => undefined,
      ),
      memory: this.memory,
      seen: (claim) => this.trace.looks(claim),
      log: () => {},
    };
  }

  private restart(): void {
    this.dead = false;
    this.epoch++;
    this.routes.clear();
    this.memory.clear();
    this.trace = new Trace();
  }

  /** Until the migration has ended, crashes and all. */
  async run(name = 'm1', limit = 600): Promise<void> {
    for (let round = 0; round < limit; round++) {
      let wait: number | undefined;
      try {
        wait = await reconcile(this.context(), this.migrations.get(name));
        if (wait === undefined && !this.dead) {
          this.advance(2_000);
          return;
        }
      } catch (error) {
        if (!(error instanceof Crash || error instanceof ShadowError || error instanceof ApiError)) throw error;
        wait = 50;
      }
      if (this.dead) this.restart();
      this.advance(wait ?? 50);
    }
    this.violate('it never ends');
  }
}
