/** What the agent's init container puts on nodes (webhook/agent/setup), asked for or not, and taken back. */
import { setTimeout as sleep } from 'node:timers/promises';
import { AGENT } from '../../webhook/api/names.ts';
import { type Api, getOrNone } from '../api.ts';
import { listAgents } from '../installation.ts';
import type { DaemonSet, Obj, Pod, PodSpec } from '../kinds.ts';
import { applyAll } from './apply.ts';
import { daemonSetMissing } from './ready.ts';
import { doom, remove } from './remove.ts';
import { type Deadline, diagnose, until } from './wait.ts';

/** The agent's init container. */
export const SETUP = 'node-setup';
export const WHAT = 'nodes are put back';
const CLEANUP = 'shadow-node-cleanup';

interface Workload extends Obj {
  spec: { template: { spec: PodSpec & { [field: string]: unknown } } };
}

const isAgent = (object: Obj): object is Workload => object.kind === 'DaemonSet' && object.metadata.name === AGENT;

/** The base with an agent that finds its node set up. Pure. */
export const withoutNodeSetup = (objects: readonly Obj[]): Obj[] =>
  objects.map((object) => {
    if (!isAgent(object)) return object;
    const { initContainers = [], ...pod } = object.spec.template.spec;
    const left = initContainers.filter(({ name }) => name !== SETUP);
    const spec = { ...pod, ...(left.length > 0 ? { initContainers: left } : {}) };
    return { ...object, spec: { ...object.spec, template: { ...object.spec.template, spec } } };
  });

/** Where the agent runs, by its image, in its namespace. Pure. */
export const cleanupOf = (agent: Workload): Obj => {
  const { containers, tolerations, nodeSelector, affinity, imagePullSecrets, priorityClassName } =
    agent.spec.template.spec;
  const [container] = containers;
  const labels = { 'app.kubernetes.io/name': 'kubectl-shadow', 'app.kubernetes.io/component': 'node-cleanup' };
  const ready = { exec: { command: ['/bin/sh', '-c', 'test -e /tmp/done'] }, periodSeconds: 1 };
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: CLEANUP, namespace: agent.metadata.namespace!, labels },
    spec: {
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          ...{ tolerations, nodeSelector, affinity, imagePullSecrets, priorityClassName },
          ...{ hostPID: true, automountServiceAccountToken: false, terminationGracePeriodSeconds: 1 },
          containers: [
            {
              name: 'cleanup',
              ...{ image: container?.image, imagePullPolicy: container?.imagePullPolicy },
              args: ['/app/setup.cjs', 'remove'],
              readinessProbe: ready,
              securityContext: { privileged: true, runAsUser: 0 },
            },
          ],
        },
      },
    },
  };
};

/** The image of an agent that is ready here: the template's may be one that no node can pull. Pure. */
export const provenImage = (pods: readonly RunningAgent[]): string | undefined =>
  pods.find(({ status }) => status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True'))?.spec
    .containers[0]?.image;

interface RunningAgent extends Pod {
  spec: Pod['spec'] & { containers: { image: string }[] };
}

const withImageOf = (agent: Workload, image: string | undefined): Workload => {
  if (image === undefined) return agent;
  const { spec: pod } = agent.spec.template;
  const containers = pod.containers.map((container) => ({ ...container, image }));
  return { ...agent, spec: { ...agent.spec, template: { ...agent.spec.template, spec: { ...pod, containers } } } };
};

const beginCleanup = async (api: Api, home: string, agent: Workload, deadline: Deadline): Promise<void> => {
  const agents = () => listAgents<RunningAgent>(api, home);
  const cleanup = cleanupOf(withImageOf(agent, provenImage(await agents())));
  await remove(api, doom('DaemonSet', AGENT, home));
  while ((await agents()).length > 0 && performance.now() < deadline.at) await sleep(250);
  await applyAll(api, [cleanup], 'none', () => undefined);
};

/** One that was broken off would take away what new agents put on nodes. */
export const endCleanup = async (api: Api, home: string): Promise<void> => {
  if ((await getOrNone(api, 'DaemonSet', CLEANUP, home)) !== undefined)
    await remove(api, doom('DaemonSet', CLEANUP, home));
};

/**
 * Ends the agents, then takes from every node what they put there; goes on with what was broken off. Where there are neither
 * agents nor a cleanup, nothing is known of nodes, and nothing done. Throws SHADOW_E_TIMEOUT naming why a node is not done.
 */
export const cleanNodes = async (
  api: Api,
  home: string,
  deadline: Deadline,
  tell: (text: string) => void,
): Promise<void> => {
  const cleanup = () => getOrNone<DaemonSet>(api, 'DaemonSet', CLEANUP, home);
  const agent = await getOrNone<Workload>(api, 'DaemonSet', AGENT, home);
  if (agent !== undefined) await beginCleanup(api, home, agent, deadline);
  else if ((await cleanup()) === undefined) return;
  const left = async (): Promise<string | undefined> => {
    const now = await cleanup();
    return now === undefined ? 'it is not there' : daemonSetMissing(now);
  };
  await until(WHAT, deadline, left, tell, () => diagnose(api, home));
  await endCleanup(api, home);
};
