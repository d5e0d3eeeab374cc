/** Who dials: TokenReview of the sidecar's projected token. */
import { createHash } from 'node:crypto';
import type { AuthenticationV1Api } from '@kubernetes/client-node';
import { ShadowError } from '../../api/errors.ts';
import { TOKEN_AUDIENCE } from '../../api/names.ts';

export interface PodIdentity {
  readonly namespace: string;
  readonly pod: string;
  readonly uid: string;
}

/** Rejects with SHADOW_E_FORBIDDEN for a token that is not a pod's of our audience, with anything else when it can't be told. */
export type Authenticate = (token: string) => Promise<PodIdentity>;

const CACHE_MS = 60_000;
const CACHE_SIZE = 1000;
const POD_NAME = 'authentication.kubernetes.io/pod-name';
const POD_UID = 'authentication.kubernetes.io/pod-uid';
const SERVICE_ACCOUNT = /^system:serviceaccount:([^:]+):[^:]+$/;

/** Accepted tokens are remembered for a minute by their digest, so that a restarted controller is not held up twice by a reconnect. */
export const tokenReviewer = (
  api: Pick<AuthenticationV1Api, 'createTokenReview'>,
  now: () => number = () => performance.now(),
): Authenticate => {
  const accepted = new Map<string, { identity: PodIdentity; until: number }>();
  return async (token) => {
    const digest = createHash('sha256').update(token).digest('base64');
    const known = accepted.get(digest);
    if (known !== undefined && known.until > now()) return known.identity;
    accepted.delete(digest);
    const { status } = await api.createTokenReview({ body: { spec: { token, audiences: [TOKEN_AUDIENCE] } } });
    const { authenticated, audiences, user, error } = status ?? {};
    const namespace = SERVICE_ACCOUNT.exec(user?.username ?? '')?.[1];
    const pod = user?.extra?.[POD_NAME]?.[0];
    const uid = user?.extra?.[POD_UID]?.[0];
    if (!authenticated || !audiences?.includes(TOKEN_AUDIENCE)) {
      throw new ShadowError('SHADOW_E_FORBIDDEN', error || 'the token is not of our audience');
    }
    if (namespace === undefined || pod === undefined || uid === undefined) {
      throw new ShadowError('SHADOW_E_FORBIDDEN', 'the token is bound to no pod');
    }
    if (accepted.size >= CACHE_SIZE) accepted.clear();
    const identity = { namespace, pod, uid };
    accepted.set(digest, { identity, until: now() + CACHE_MS });
    return identity;
  };
};
