/** Waiting for what was installed: one task an object, polled. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ShadowError } from '../../webhook/api/errors.ts';
import { type Api, ApiError, getOrNone, listAll } from '../api.ts';
import { listAgents, OURS, readReports } from '../installation.ts';
import {
  type DaemonSet,
  type Deployment,
  type Kind,
  nameOf,
  type Obj,
  type Pod,
  type WebhookConfiguration,
} from '../kinds.ts';
import type { Task } from '../tasks.ts';
import { probeWebhook } from './probe.ts';
import {
  daemonSetMissing,
  deploymentMissing,
  handlersMissing,
  type Missing,
  reportsMissing,
  webhookMissing,
} from './ready.ts';
import type { Settings } from './settings.ts';

const POLL_MS = 500;
/** What has not changed for so long is worth a word why; asked for as often. */
const STUCK_MS = 5_000;

export interface Deadline {
  /** performance.now() at which the waiting ends. */
  at: number;
  /** As the user gave it, for the message. */
  given: string;
}

/** No answer, or one that may be another the next time: the waiting goes on. */
const hiccup = (error: unknown): boolean =>
  error instanceof ApiError && (error.status === 0 || error.status === 429 || error.status >= 500);

/**
 * Asks until nothing is missing, and tells what is; after a while also why, as `diagnose` finds. Throws SHADOW_E_TIMEOUT with
 * what was missing last, and why.
 */
export const until = async (
  what: string,
  deadline: Deadline,
  ask: () => Promise<Missing>,
  tell: (detail: string) => void,
  diagnose: () => Promise<string> = async () => '',
): Promise<void> => {
  const why = async (): Promise<string> => {
    const found = await diagnose().catch(() => '');
    return found ? ` (${found})` : '';
  };
  let last: Missing;
  let since = 0;
  let reason = '';
  for (;;) {
    const missing = await ask().catch((error: unknown) => {
      if (hiccup(error)) return (error as Error).message;
      throw error;
    });
    if (missing === undefined) return;
    const now = performance.now();
    if (missing !== last) [last, since, reason] = [missing, now, ''];
    else if (now - since >= STUCK_MS) [since, reason] = [now, await why()];
    tell(`${missing}${reason}`);
    if (now >= deadline.at)
      throw new ShadowError('SHADOW_E_TIMEOUT', `${what} after ${deadline.given}: ${missing}${await why()}`, {
        hint: `look at kubectl get pods -A -l ${OURS}; the same command again goes on waiting`,
      });
    await sleep(POLL_MS);
  }
};

interface Statuses {
  status?: {
    containerStatuses?: ContainerStatus[];
    initContainerStatuses?: ContainerStatus[];
  };
}
interface ContainerStatus {
  name: string;
  restartCount?: number;
  state?: { waiting?: { reason?: string; message?: string } };
  lastState?: { terminated?: { message?: string } };
}

/** Why pods of ours do not run: waiting containers and what the scheduler says. Pure. */
export const troubles = (pods: readonly (Pod & Statuses)[]): string[] =>
  pods.flatMap(({ metadata, status = {} }) => {
    const waiting = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])].flatMap(
      (container) => {
        const { reason, message: said } = container.state?.waiting ?? {};
        // Its own last words tell more than that it is started again.
        const message = container.lastState?.terminated?.message ?? said;
        if (!reason || reason === 'ContainerCreating' || reason === 'PodInitializing') return [];
        return [`${metadata.name}/${container.name}: ${reason}${message ? `: ${message}` : ''}`];
      },
    );
    const unscheduled = (status.conditions ?? [])
      .filter((condition) => condition.type === 'PodScheduled' && condition.status === 'False')
      .map((condition) => `${metadata.name}: ${condition.message ?? 'not scheduled'}`);
    return [...waiting, ...unscheduled];
  });

const MISSING: Partial<Record<Kind, (object: never) => Missing>> = {
  Deployment: deploymentMissing satisfies (object: Deployment) => Missing,
  DaemonSet: daemonSetMissing satisfies (object: DaemonSet) => Missing,
  MutatingWebhookConfiguration: webhookMissing satisfies (object: WebhookConfiguration) => Missing,
  ValidatingWebhookConfiguration: webhookMissing satisfies (object: WebhookConfiguration) => Missing,
};

/** `home`: our namespace. */
export const diagnose = async (api: Api, home: string): Promise<string> =>
  troubles(await listAll<Pod>(api, { kind: 'Pod', namespace: home }))
    .slice(0, 3)
    .join('; ');

const readyTask = (api: Api, object: Obj, missing: (object: never) => Missing, deadline: Deadline): Task => {
  const kind = object.kind as Kind;
  const { name, namespace } = object.metadata;
  const title = nameOf(kind, name);
  const ask = async () => {
    const now = await getOrNone(api, kind, name, namespace);
    return now === undefined ? 'it is not there' : missing(now as never);
  };
  return {
    title,
    run: (tell) =>
      until(title, deadline, ask, tell, () => (namespace ? diagnose(api, namespace) : Promise.resolve(''))),
  };
};

/** All that must be so before a migration can be asked for. Workloads first: they bring the CA and the webhook. */
export const waitTasks = (
  api: Api,
  objects: readonly Obj[],
  { namespace: home, nodeSetup }: Settings,
  deadline: Deadline,
): Task[] => {
  const waited = objects
    .flatMap((object) => {
      const missing = MISSING[object.kind as Kind];
      return missing ? [{ object, missing }] : [];
    })
    .sort((a, b) => Number('webhooks' in a.object) - Number('webhooks' in b.object));
  const injects = async () =>
    (await probeWebhook(api)) === 'silent' ? 'a pod created as a trial was not injected yet' : undefined;
  const nodes = async () => {
    const agents = await listAgents(api, home);
    const silent = reportsMissing(agents, await readReports(api, home));
    // Nodes that somebody else sets up are for `check` to judge.
    return silent ?? (nodeSetup === false ? undefined : handlersMissing(agents, await listAll(api, { kind: 'Node' })));
  };
  const asking = (title: string, ask: () => Promise<Missing>): Task => ({
    title,
    run: (tell) => until(title, deadline, ask, tell),
  });
  return [
    ...waited.map(({ object, missing }) => readyTask(api, object, missing, deadline)),
    asking('webhook', injects),
    asking('nodes', nodes),
  ];
};
