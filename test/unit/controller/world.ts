/**
 * A small cluster in memory that drives the real reconciler: API with resourceVersions, set's controller, kubelet, sidecars and
 * agents as state machines that check their own rules. Time is the world's own. Every call may be cut short before or after it
 * took effect.
 */
import type { V1MutatingWebhookConfiguration, V1Node, V1Pod } from '@kubernetes/client-node';
import { asRestoreTarget } from '../../../webhook/admission/restore.ts';
import { restoreTarget } from '../../../webhook/admission/targets.ts';
import { ShadowError } from '../../../webhook/api/errors.ts';
import type { StatefulMigration } from '../../../webhook/api/migration.ts';
import { ANNOTATION, LABEL, SIDECAR } from '../../../webhook/api/names.ts';
import type { Context } from '../../../webhook/controller/context.ts';
import { reconcile } from '../../../webhook/controller/reconcile.ts';
import { ApiError } from '../../../webhook/controller/rest.ts';
import { createAgentsOf, type NodeState } from './world-agents.ts';
import { createApi, SET } from './world-api.ts';
import { createSidecars, type Sidecar } from './world-sidecars.ts';

/** The process dies here: all it knew is gone. */
export class Crash extends Error {}

export type Hook = (name: string, when: 'before' | 'after', count: number) => void;

export const NS = 'default';
export const POD = 'consumer-0';
export const SHADOW = `${POD}-shadow`;

const clone = <T>(value: T): T => structuredClone(value);

export const nodeOf = (name: string): V1Node => ({
  metadata: { name, labels: {} },
  status: {
    allocatable: { cpu: '4', memory: '4Gi', pods: '110' },
    conditions: [{ type: 'Ready', status: 'True' }],
  },
});

export const podSpec = (): V1Pod => ({
  metadata: {
    name: POD,
    namespace: NS,
    labels: {
      app: 'consumer',
      [LABEL.injected]: 'true',
      [LABEL.statefulSetPod]: POD,
      'controller-revision-hash': 'r1',
    },
    annotations: {},
    ownerReferences: [{ apiVersion: 'apps/v1', kind: 'StatefulSet', name: SET, uid: 'set', controller: true }],
  },
  spec: {
    initContainers: [{ name: SIDECAR.container, image: 'shadow:1', restartPolicy: 'Always' }],
    containers: [{ name: 'app', image: 'app:1', resources: { requests: { cpu: '100m', memory: '64Mi' } } }],
  },
});

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
  restoreConfig: V1MutatingWebhookConfiguration | undefined;
  /** Pods that restore nothing and start with empty memory. */
  fresh = 0;
  private routes = new Map<string, { copyUid: string; abandoned: boolean }>();

  constructor() {
    for (const name of ['one', 'two'])
      this.nodes[name] = { name, staged: new Map(), images: new Map(), cuts: new Map() };
    this.start(podSpec(), 'one');
    this.fresh = 0;
  }

  violate(text: string): void {
    this.violations.push(`${text} (call ${this.calls}: ${this.log.at(-1)})`);
  }

  next(): string {
    return `${++this.version}`;
  }

  /** Decisions as stored: what any rule about the commit is checked against. */
  verdict(claim: string): 'commit' | 'abort' | undefined {
    for (const migration of this.migrations.values())
      for (const handoff of migration.status?.handoffs ?? [])
        if (handoff.claim === claim) return handoff.decision?.verdict;
    return undefined;
  }

  migrate(name = 'm1', spec: StatefulMigration['spec'] = { sourcePod: POD, targetNode: 'two' }): void {
    this.migrations.set(name, {
      metadata: {
        name,
        namespace: NS,
        uid: `0000-${name.replaceAll(/\D/g, '')}`,
        resourceVersion: this.next(),
        generation: 1,
        creationTimestamp: new Date(this.time).toISOString(),
      },
      spec,
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
  private start(pod: V1Pod, node: string): void {
    const made = this.put({ ...pod, spec: { ...pod.spec!, nodeName: node } });
    const uid = made.metadata?.uid ?? '';
    this.sidecars.set(uid, { state: 'idle', process: `p${uid}`, carried: 3, app: 'running', fenced: false });
    this.fresh++;
    this.settleStatusOf(made);
  }

  private settleStatusOf(pod: V1Pod): void {
    const sidecar = this.sidecars.get(pod.metadata?.uid ?? '');
    const ready = sidecar !== undefined && (sidecar.state === 'idle' || sidecar.state === 'live');
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

  checkVoice(): void {
    const speaking = [...this.sidecars.entries()].filter(
      ([, { state, app }]) => (state === 'idle' || state === 'live') && app === 'running',
    );
    if (speaking.length > 1) this.violate(`two voices: ${speaking.map(([uid]) => uid)}`);
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
      if (pod.metadata?.deletionTimestamp !== undefined) this.lose(name);
      else this.kubelet(pod);
    }
    this.setController();
    this.settlements();
    for (const pod of this.pods.values()) this.settleStatusOf(pod);
    this.checkVoice();
  }

  private kubelet(pod: V1Pod): void {
    const uid = pod.metadata?.uid ?? '';
    const claim = pod.metadata?.annotations?.[ANNOTATION.restore];
    if (claim === undefined || this.sidecars.has(uid)) return;
    const staged = this.nodes[pod.spec?.nodeName ?? '']?.staged.get(claim);
    if (staged !== undefined && !staged.cancelled && staged.copy === pod.metadata?.name) staged.pod = uid;
  }

  private setController(): void {
    if (this.pods.has(POD)) return;
    if (this.restoreConfig === undefined) {
      this.start(podSpec(), 'one');
      return;
    }
    try {
      const target = restoreTarget(podSpec(), [...this.migrations.values()]);
      this.put(asRestoreTarget(podSpec(), target));
    } catch (error) {
      if (!(error instanceof ShadowError)) throw error;
    }
  }

  private settlements(): void {
    for (const [claim, { copyUid, abandoned }] of this.routes) {
      const copy = this.sidecars.get(copyUid);
      const source = [...this.sidecars.values()].find((one) => one.claim === claim && one.state === 'superseded');
      if (source !== undefined && copy?.state === 'live' && source.outstanding! > 0) source.outstanding!--;
      if (copy?.state === 'live' && (abandoned || source?.outstanding === 0)) copy.state = 'idle';
    }
  }

  // ---- what the reconciler sees
  async call<T>(name: string, act: () => T | Promise<T>): Promise<T> {
    if (this.dead) throw new Crash();
    const count = ++this.calls;
    this.log.push(name);
    this.strike(name, 'before', count);
    const result = await act();
    this.checkVoice();
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

  context(): Context {
    return {
      now: () => this.time,
      epoch: this.epoch,
      probeImage: 'shadow:1',
      cluster: createApi(this),
      agents: createAgentsOf(this),
      sidecars: createSidecars(this, this.routes),
      log: () => {},
    };
  }

  private restart(): void {
    this.dead = false;
    this.epoch++;
    this.routes.clear();
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
