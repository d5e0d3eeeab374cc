/** Where in the cluster kubectl-shadow is installed: found by what it has registered, so that no command need be told. */
import { INJECT_WEBHOOK_CONFIG, NAMESPACE } from '../webhook/api/names.ts';
import { type Api, ApiError, listAll } from './api.ts';
import type { Meta, WebhookConfiguration } from './kinds.ts';

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
