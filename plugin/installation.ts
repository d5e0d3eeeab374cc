/** Where in the cluster kubectl-shadow is installed, found by what it has registered, so that no command need be told; and its nodes. */
import { INJECT_WEBHOOK_CONFIG, NAMESPACE, NODE_REPORTS, RUNTIME_CLASS } from '../webhook/api/names.ts';
import { type NodeReports, parseReports, REPORTS_KEY } from '../webhook/api/node-reports.ts';
import { type Api, ApiError, listAll } from './api.ts';
import type { Meta, Pod, WebhookConfiguration } from './kinds.ts';

/** On every object of ours. */
export const OURS = 'app.kubernetes.io/name=kubectl-shadow';
const [NAME_LABEL, NAME] = OURS.split('=') as [string, string];

export const isOurs = ({ labels }: Meta): boolean => labels?.[NAME_LABEL] === NAME;

/** Who may not look goes on without; so does who finds none. */
const unlessDenied = async <T>(asked: Promise<T>): Promise<T | undefined> => {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof ApiError && (error.status === 403 || error.status === 404)) return undefined;
    throw error;
  }
};

/**
 * undefined: there is none, or the caller may see neither the webhook's configuration nor namespaces. The configuration goes
 * first when all is removed and the namespace last, so that half an installation is found, too.
 */
export const findNamespace = async (api: Api): Promise<string | undefined> => {
  const hooks = await unlessDenied(
    api.call<WebhookConfiguration>({ verb: 'get', kind: 'MutatingWebhookConfiguration', name: INJECT_WEBHOOK_CONFIG }),
  );
  const named = hooks?.webhooks?.[0]?.clientConfig.service?.namespace;
  if (named !== undefined) return named;
  const query = { labelSelector: OURS };
  const ours = (await unlessDenied(listAll<{ metadata: Meta }>(api, { kind: 'Namespace', query }))) ?? [];
  return ours.map(({ metadata }) => metadata.name).sort()[0];
};

/** The same, or where it is by default. */
export const homeOf = async (api: Api): Promise<string> => (await findNamespace(api)) ?? NAMESPACE;

/** A node, as far as its kubelet tells of handlers. */
export interface TellingNode {
  metadata: Meta;
  status?: { runtimeHandlers?: { name?: string }[] };
}

/** undefined: the controller has not written any yet, or one of another release has. Throws an ApiError 404 where nothing is installed. */
export const readReports = async (api: Api, home: string): Promise<NodeReports | undefined> => {
  const map = await api.call<{ data?: Record<string, string> }>({
    verb: 'get',
    kind: 'ConfigMap',
    name: NODE_REPORTS,
    namespace: home,
  });
  return parseReports(map.data?.[REPORTS_KEY] ?? '');
};

/** What a kubelet says containerd has loaded; undefined: it does not tell (before Kubernetes 1.31). */
export const tellsOfHandler = ({ status }: TellingNode): boolean | undefined => {
  const handlers = status?.runtimeHandlers;
  return handlers?.length ? handlers.some(({ name }) => name === RUNTIME_CLASS) : undefined;
};

/** The pods of our agents: one on each node that takes it. */
export const listAgents = <T = Pod>(api: Api, home: string): Promise<T[]> =>
  listAll<T>(api, { kind: 'Pod', namespace: home, query: { labelSelector: 'app.kubernetes.io/component=agent' } });
