/** The facts, asked for all at once, each with its own patience. Nothing is changed: creates are dry runs, a review is no object. */
import { setTimeout as sleep } from 'node:timers/promises';
import { GROUP, PLURAL } from '../../webhook/api/migration.ts';
import {
  AGENT,
  CONTROLLER,
  INJECT_WEBHOOK_CONFIG,
  LEASE,
  NAMESPACE,
  RUNTIME_CLASS,
  TLS_SECRET,
  VALIDATE_WEBHOOK_CONFIG,
  WEBHOOK,
} from '../../webhook/api/names.ts';
import { type Api, ApiError, listAll } from '../api.ts';
import { probeWebhook } from '../install/probe.ts';
import { homeOf, readReports } from '../installation.ts';
import type { DaemonSet, Deployment, Kind, Pod, WebhookConfiguration } from '../kinds.ts';
import { loadManifests } from '../manifests.ts';
import { problemOf } from '../problems.ts';
import { clientVersion } from '../version.ts';
import { type Crd, type Fact, type Facts, type Lease, type NodeObject, type Right, SECRET_ROLES } from './facts.ts';

/** Longest wait for one fact, milliseconds. */
const FACT_MS = 10_000;
/** A leader renews its Lease every two seconds. */
const RENEWAL_MS = 5_000;
const CRD_NAME = `${PLURAL}.${GROUP}`;

/** Longest wait for what takes longer: the controller has 15 s for a dry run. */
export const DRY_RUN_MS = 30_000;

/** Never rejects. */
export const factOf = async <T>(asking: Promise<T>, patienceMs = FACT_MS): Promise<Fact<T>> => {
  const over = new AbortController();
  const late = sleep(patienceMs, undefined, { signal: over.signal, ref: false }).then(() => {
    throw new Error(`no answer in ${patienceMs / 1000} s`);
  });
  late.catch(() => undefined);
  try {
    return { got: await Promise.race([asking, late]) };
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return { absent: true };
    if (error instanceof ApiError && error.status === 403) return { denied: error.message };
    // The API server's own words: they name the cause.
    if (error instanceof ApiError && error.status > 0) return { failed: error.message };
    const { message, hint } = problemOf(error);
    return { failed: message, hint };
  } finally {
    over.abort();
    asking.catch(() => undefined);
  }
};

const get = <T>(api: Api, kind: Kind, name: string, namespace?: string): Promise<T> =>
  api.call<T>({ verb: 'get', kind, name, namespace });

const leaseOf = async (api: Api, home: string): Promise<{ lease: Lease; renewed: boolean }> => {
  const read = () => get<Lease>(api, 'Lease', LEASE, home);
  const lease = await read();
  // Clocks of two machines are not compared: that it is renewed shows by itself.
  for (const until = performance.now() + RENEWAL_MS; lease.spec?.holderIdentity && performance.now() < until; ) {
    await sleep(500);
    if ((await read()).metadata.resourceVersion !== lease.metadata.resourceVersion) return { lease, renewed: true };
  }
  return { lease, renewed: false };
};

/** One that the webhook must refuse: that it was asked is proven by its refusal, and without it the object is accepted. */
const validationOf = async (api: Api, namespace: string): Promise<'refused' | 'accepted'> => {
  try {
    await api.call({
      verb: 'create',
      kind: 'StatefulMigration',
      namespace,
      query: { dryRun: 'All', fieldManager: 'kubectl-shadow' },
      body: {
        apiVersion: `${GROUP}/v1alpha1`,
        kind: 'StatefulMigration',
        metadata: { generateName: 'shadow-check-', namespace },
        spec: {},
      },
    });
    return 'accepted';
  } catch (error) {
    if (error instanceof ApiError && error.message.includes('SHADOW_E_INVALID')) return 'refused';
    throw error;
  }
};

const certificateOf = async (api: Api, home: string, name: string): Promise<string> => {
  const secret = await get<{ data?: Record<string, string> }>(api, 'Secret', name, home);
  return Buffer.from(secret.data?.['tls.crt'] ?? '', 'base64').toString();
};

/** What `migrate` and `check pod/NAME` do in the pod's namespace. */
const NEEDED: readonly { verb: string; kind: 'StatefulMigration' | 'Pod'; group: string; resource: string }[] = [
  ...['create', 'get', 'list', 'watch', 'patch', 'delete'].map(
    (verb) => ({ verb, kind: 'StatefulMigration', group: GROUP, resource: PLURAL }) as const,
  ),
  { verb: 'get', kind: 'Pod', group: '', resource: 'pods' },
];

const rightsOf = (api: Api, namespace: string): Promise<Right[]> =>
  Promise.all(
    NEEDED.map(async ({ verb, group, resource }) => {
      const resourceAttributes = { namespace, verb, group, resource };
      const asked = api.call<{ status?: { allowed?: boolean } }>({
        verb: 'create',
        kind: 'SelfSubjectAccessReview',
        body: {
          apiVersion: 'authorization.k8s.io/v1',
          kind: 'SelfSubjectAccessReview',
          spec: { resourceAttributes },
        },
      });
      const allowed = await factOf(asked.then(({ status }) => status?.allowed === true));
      return { verb, resource: group ? `${resource}.${group}` : resource, allowed };
    }),
  );

export const ownCrd = (): Crd =>
  loadManifests().find(({ kind }) => kind === 'CustomResourceDefinition') as unknown as Crd;

const webhooksOf = (api: Api): Promise<WebhookConfiguration[]> =>
  Promise.all([
    get<WebhookConfiguration>(api, 'MutatingWebhookConfiguration', INJECT_WEBHOOK_CONFIG),
    get<WebhookConfiguration>(api, 'ValidatingWebhookConfiguration', VALIDATE_WEBHOOK_CONFIG),
  ]);

/** What the checks of a pod do without. Secrets are not read for nothing. */
const clusterFacts = async (api: Api, home: string, namespace: string, wanted: boolean) => {
  const only = <T>(ask: () => Promise<T>): Promise<Fact<T>> =>
    wanted ? factOf(ask()) : Promise.resolve({ denied: 'it was not asked for' });
  const [agentSet, injection, runtimeClass, webhooks, nodes, reports, ...certificates] = await Promise.all([
    only(() => get<DaemonSet>(api, 'DaemonSet', AGENT, home)),
    only(() => probeWebhook(api, namespace)),
    only(() => get<{ handler: string }>(api, 'RuntimeClass', RUNTIME_CLASS)),
    only(() => webhooksOf(api)),
    only(() => listAll<NodeObject>(api, { kind: 'Node' })),
    only(() => readReports(api, home)),
    ...SECRET_ROLES.map((role) => only(() => certificateOf(api, home, TLS_SECRET[role]))),
  ]);
  return {
    ...{ agentSet, injection, runtimeClass, webhooks, nodes, reports },
    certificates: Object.fromEntries(
      SECRET_ROLES.map((role, index) => [role, certificates[index]]),
    ) as Facts['certificates'],
  };
};

/**
 * `namespace`: where the migrations would be made, and where trials are. `whole`: of the cluster, not of what a pod needs
 * alone. Never rejects.
 */
export const gather = async (api: Api, namespace: string, whole = true): Promise<Facts> => {
  const found = await factOf(homeOf(api));
  const home = 'got' in found ? found.got : NAMESPACE;
  const [version, crd, webhook, controller, pods, lease, validation, rights, cluster] = await Promise.all([
    factOf(api.call<{ gitVersion: string }>({ verb: 'get', kind: 'Version' })),
    factOf(get<Crd>(api, 'CustomResourceDefinition', CRD_NAME)),
    factOf(get<Deployment>(api, 'Deployment', WEBHOOK, home)),
    factOf(get<Deployment>(api, 'Deployment', CONTROLLER, home)),
    factOf(listAll<Pod>(api, { kind: 'Pod', namespace: home })),
    factOf(leaseOf(api, home), FACT_MS + RENEWAL_MS),
    factOf(validationOf(api, namespace)),
    rightsOf(api, namespace),
    clusterFacts(api, home, namespace, whole),
  ]);
  return {
    ...{ now: Date.now(), namespace, home, ownCrd: ownCrd(), ownVersion: clientVersion() },
    ...{ version, crd, webhook, controller, pods, lease, validation, rights, ...cluster },
  };
};
