/**
 * The leader asks every agent what its node is, and writes down what it heard for `kubectl shadow check` to read. What is left on
 * a node of a migration that has ended (the node was dead then) is removed.
 */
import type { V1Node } from '@kubernetes/client-node';
import type { AgentResponse } from '../api/agent.ts';
import { asShadowError } from '../api/errors.ts';
import { isEnded, type StatefulMigration } from '../api/migration.ts';
import { NODE_REPORTS } from '../api/names.ts';
import { type NodeEntry, type NodeReports, REPORTS_KEY, REWRITE_MS, SURVEY_MS } from '../api/node-reports.ts';
import type { Agents, Cluster } from './context.ts';
import type { Rest } from './rest.ts';
import { stamp } from './transition.ts';

/** Agents asked at a time. */
const AT_ONCE = 16;
/**
 * From a change of an agent's pod to the look at all of them: a rollout changes many. After a look that met a silent agent as
 * long, then twice as long each time.
 */
const SOON_MS = 2_000;

type Examination = AgentResponse<'examine'>;

interface Heard {
  node: string;
  entry: NodeEntry;
  flags: readonly string[];
  claims: readonly string[];
}

/** What a clock that showed `theirs` at some time between `sent` and `received` is ahead of ours at the least. Pure. */
export const aheadOf = (theirs: number, sent: number, received: number): number =>
  theirs < sent ? theirs - sent : Math.max(0, theirs - received);

const nameOf = (node: V1Node): string => node.metadata?.name ?? '';
/** The agent runs on no other. */
const isLinux = ({ metadata }: V1Node): boolean => metadata?.labels?.['kubernetes.io/os'] !== 'windows';

const foundOf = ({
  node: _node,
  cpuFlags: _flags,
  freeBytes: _free,
  claims: _claims,
  now: _now,
  ...rest
}: Examination) => rest;

const hear = async (agents: Agents, node: string, now: () => number): Promise<Heard> => {
  const sent = now();
  try {
    const told = await agents.of(node).examine({});
    const aheadMs = aheadOf(told.now, sent, now());
    return {
      node,
      entry: { node, found: { ...foundOf(told), cpu: 0, aheadMs } },
      flags: told.cpuFlags,
      claims: told.claims ?? [],
    };
  } catch (error) {
    const { code, message } = asShadowError(error);
    return { node, entry: { node, error: { code, message: message.slice(0, 500) } }, flags: [], claims: [] };
  }
};

export const together = (heard: readonly Heard[], at: number): NodeReports => {
  const cpus: string[][] = [];
  const indexOf = new Map<string, number>();
  const nodes = heard.map(({ entry, flags }): NodeEntry => {
    if (entry.found === undefined) return entry;
    const key = flags.join(' ');
    const known = indexOf.get(key) ?? cpus.push([...flags]) - 1;
    indexOf.set(key, known);
    return { ...entry, found: { ...entry.found, cpu: known } };
  });
  return { at: stamp(at), cpus, nodes };
};

/** Every node, by name. */
export const hearAll = async (nodes: readonly V1Node[], agents: Agents, now: () => number): Promise<Heard[]> => {
  const names = nodes.filter(isLinux).map(nameOf).sort();
  const heard: Heard[] = [];
  for (let from = 0; from < names.length; from += AT_ONCE)
    heard.push(...(await Promise.all(names.slice(from, from + AT_ONCE).map((name) => hear(agents, name, now)))));
  return heard;
};

/** What makes another report of it: not the time, and of the clocks no more than whole seconds. */
const gistOf = ({ cpus, nodes }: NodeReports): string =>
  JSON.stringify([
    cpus,
    nodes.map(({ found, ...rest }) => ({
      ...rest,
      found: found && { ...found, aheadMs: Math.round(found.aheadMs / 1000) },
    })),
  ]);

/** Something is under way that an agent's tools could take processor time from. */
const isMoving = (migration: StatefulMigration): boolean =>
  !isEnded(migration) && migration.status?.handoffs !== undefined;

export interface SurveyOptions {
  cluster: Pick<Cluster, 'nodes' | 'migrations'>;
  agents: Agents;
  /** Of the leader. */
  epoch: number;
  write(reports: NodeReports): Promise<void>;
  onError(error: unknown): void;
}

export class Survey {
  private readonly options: SurveyOptions;
  private gist = '';
  private written = Number.NEGATIVE_INFINITY;
  private timer: NodeJS.Timeout | undefined;
  /** When it is looked next; infinity: not started. */
  private due = Number.POSITIVE_INFINITY;
  /** From a look that met a silent agent to the next. */
  private patience = SOON_MS;

  constructor(options: SurveyOptions) {
    this.options = options;
  }

  /** One look at all nodes; true: one was silent. Nobody is asked while a migration is under way. */
  async look(now: () => number = Date.now): Promise<boolean> {
    const { cluster, agents, write } = this.options;
    if (cluster.migrations().some(isMoving)) return false;
    const heard = await hearAll(await cluster.nodes(), agents, now);
    await this.removeLeftovers(heard);
    const reports = together(heard, now());
    const gist = gistOf(reports);
    if (gist !== this.gist || now() - this.written >= REWRITE_MS) {
      await write(reports);
      this.gist = gist;
      this.written = now();
    }
    return reports.nodes.some(({ found }) => found === undefined);
  }

  start(): void {
    this.lookAfter(0);
  }

  /** An agent has come or gone. Many at once are one look, and none puts it off. */
  soon(): void {
    this.patience = SOON_MS;
    if (Number.isFinite(this.due) && this.due - performance.now() > SOON_MS) this.lookAfter(SOON_MS);
  }

  /** A claim is made by this leader alone, of a migration it knows. */
  private async removeLeftovers(heard: readonly Heard[]): Promise<void> {
    const { cluster, agents, epoch, onError } = this.options;
    const kept = cluster.migrations().flatMap((each) => (isEnded(each) ? [] : [`${each.metadata.uid}-`]));
    for (const { entry, claims } of heard)
      for (const claim of claims)
        if (!kept.some((prefix) => claim.startsWith(prefix)))
          await agents.of(entry.node).clean({ claim, epoch }).catch(onError);
  }

  private lookAfter(ms: number): void {
    clearTimeout(this.timer);
    this.due = performance.now() + ms;
    this.timer = setTimeout(() => {
      this.lookAfter(SURVEY_MS);
      this.look().then(
        (silent) => this.rest(silent),
        (error: unknown) => this.options.onError(error),
      );
    }, ms);
    this.timer.unref();
  }

  /** An agent that has just started listens in a moment; one that is dead is not asked more often than the others. */
  private rest(silent: boolean): void {
    if (!silent) this.patience = SOON_MS;
    else if (this.patience < SURVEY_MS) {
      if (this.due - performance.now() > this.patience) this.lookAfter(this.patience);
      this.patience *= 2;
    }
  }
}

/** Into the ConfigMap that is part of the installation: it is never made here. */
export const reportWriter =
  (rest: Rest, namespace: string) =>
  async (reports: NodeReports): Promise<void> => {
    const path = `/api/v1/namespaces/${namespace}/configmaps/${NODE_REPORTS}`;
    await rest.call('PATCH', path, { body: { data: { [REPORTS_KEY]: JSON.stringify(reports) } } });
  };
