/** The configuration of the restore webhook, which fails closed for the very pods that swap now, and the pod that proves it. Pure. */
import type { V1MutatingWebhook, V1MutatingWebhookConfiguration, V1Pod } from '@kubernetes/client-node';
import { ANNOTATION, LABEL, RESTORE_WEBHOOK_CONFIG, WEBHOOK } from '../api/names.ts';
import { RESTRICTED } from './sidecar.ts';

export interface SwappingPod {
  namespace: string;
  /** Its name. */
  pod: string;
}

const entry = ({ namespace, pod }: SwappingPod, caBundle: string, home: string): V1MutatingWebhook => ({
  name: `${pod}.${namespace}.restore.shadow.ms2m.io`,
  admissionReviewVersions: ['v1'],
  clientConfig: { service: { name: WEBHOOK, namespace: home, path: '/restore', port: 443 }, caBundle },
  rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'], scope: 'Namespaced' }],
  namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } },
  objectSelector: { matchLabels: { [LABEL.statefulSetPod]: pod } },
  // A successor that came up plain would start with empty memory: better none, for a moment, than that one.
  failurePolicy: 'Fail',
  reinvocationPolicy: 'IfNeeded',
  sideEffects: 'None',
  timeoutSeconds: 5,
});

/** `caPem`: `ca.crt` of ConfigMap shadow-ca; `home`: our namespace. With no target left the configuration is to be deleted, not emptied. */
export const restoreWebhookConfig = (
  targets: readonly SwappingPod[],
  caPem: string,
  home: string,
): V1MutatingWebhookConfiguration => ({
  apiVersion: 'admissionregistration.k8s.io/v1',
  kind: 'MutatingWebhookConfiguration',
  metadata: { name: RESTORE_WEBHOOK_CONFIG, labels: { 'app.kubernetes.io/name': 'kubectl-shadow' } },
  webhooks: targets.map((target) => entry(target, Buffer.from(caPem).toString('base64'), home)),
});

const PROBED = 'live';

/**
 * To be created with dryRun=All: the restore webhook answers it, having read the migrations of the namespace as it does for a
 * successor, by the annotation's value. Another name than the pod's: that one is taken.
 */
export const probePod = ({ namespace, pod }: SwappingPod, image: string): V1Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: `${pod}-probe`,
    namespace,
    labels: { [LABEL.statefulSetPod]: pod, [LABEL.inject]: 'false' },
    annotations: { [ANNOTATION.probe]: 'asked' },
  },
  spec: {
    restartPolicy: 'Never',
    automountServiceAccountToken: false,
    containers: [
      {
        name: 'probe',
        image,
        resources: { requests: { cpu: '1m', memory: '1Mi' }, limits: { cpu: '1m', memory: '1Mi' } },
        securityContext: RESTRICTED,
      },
    ],
  },
});

export const isProbe = (pod: V1Pod): boolean => pod.metadata?.annotations?.[ANNOTATION.probe] !== undefined;
export const answeredProbe = (pod: V1Pod): V1Pod => ({
  ...pod,
  metadata: { ...pod.metadata, annotations: { ...pod.metadata?.annotations, [ANNOTATION.probe]: PROBED } },
});
/** Of the pod that came back from the dry run. */
export const provesLive = (pod: V1Pod): boolean => pod.metadata?.annotations?.[ANNOTATION.probe] === PROBED;
