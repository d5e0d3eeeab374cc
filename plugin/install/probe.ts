/** Does the injection webhook answer? A dry-run pod that asks to be injected: nothing is created. */
import { ANNOTATION, LABEL } from '../../webhook/api/names.ts';
import { type Api, ApiError } from '../api.ts';
import type { Meta } from '../kinds.ts';

/** `unknown`: something else in the cluster refuses such a pod, which says nothing about our webhook. */
export type Answer = 'answers' | 'silent' | 'unknown';

const probePod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    generateName: 'shadow-probe-',
    labels: { [LABEL.inject]: 'true' },
    annotations: { [ANNOTATION.brokers]: 'shadow-probe.invalid:5672' },
  },
  spec: {
    automountServiceAccountToken: false,
    securityContext: { runAsNonRoot: true, runAsUser: 65534, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [
      {
        name: 'probe',
        image: 'shadow-probe.invalid/none',
        securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
        resources: { requests: { cpu: '1m', memory: '1Mi' }, limits: { cpu: '1m', memory: '1Mi' } },
      },
    ],
  },
};

export const probeWebhook = async (api: Api, namespace = 'default'): Promise<Answer> => {
  try {
    const pod = await api.call<{ metadata: Meta }>({
      verb: 'create',
      kind: 'Pod',
      namespace,
      query: { dryRun: 'All', fieldManager: 'kubectl-shadow' },
      body: probePod,
    });
    return pod.metadata.annotations?.[ANNOTATION.status] === undefined ? 'silent' : 'answers';
  } catch (error) {
    // Our own refusal is an answer, too.
    if (error instanceof ApiError && error.message.includes('SHADOW_E_')) return 'answers';
    if (error instanceof ApiError && [400, 403, 404, 422].includes(error.status)) return 'unknown';
    throw error;
  }
};
