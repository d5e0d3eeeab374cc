/** Is the API server new enough? */
import { ShadowError } from '../../webhook/api/errors.ts';
import { older } from '../../webhook/controller/preflight/node.ts';
import { type Api, ApiError } from '../api.ts';

/** Native sidecars and the match conditions of webhooks: an older server drops them in silence, and injected pods hang. */
const LEAST_KUBERNETES = '1.30';

/** Why not, in words; undefined: it is. `gitVersion`: as /version tells it, "v1.34.1". Pure. */
export const tooOld = (gitVersion: string): string | undefined =>
  older(gitVersion, LEAST_KUBERNETES) ? `Kubernetes ${gitVersion} is older than ${LEAST_KUBERNETES}` : undefined;

/** Throws SHADOW_E_API_VERSION. A server that keeps its version to itself is taken as it is. */
export const assertServer = async (api: Api): Promise<void> => {
  let gitVersion: string;
  try {
    ({ gitVersion } = await api.call<{ gitVersion: string }>({ verb: 'get', kind: 'Version' }));
  } catch (error) {
    if (error instanceof ApiError && (error.status === 403 || error.status === 404)) return;
    throw error;
  }
  const why = tooOld(gitVersion);
  if (why !== undefined) throw new ShadowError('SHADOW_E_API_VERSION', why);
};
