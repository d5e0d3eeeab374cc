/** What injection adds to a pod: the container and its volumes. Pure. */
import type {
  V1Container,
  V1EnvVar,
  V1Pod,
  V1ResourceRequirements,
  V1SecurityContext,
  V1Volume,
} from '@kubernetes/client-node';
import { ShadowError } from '../api/errors.ts';
import {
  ANNOTATION,
  BLIND_PORTS,
  BLIND_TLS_PORTS,
  CA,
  NAMESPACE,
  PORT,
  SIDECAR,
  TOKEN_AUDIENCE,
} from '../api/names.ts';
import type { Plan } from './brokers.ts';
import type { InjectOptions } from './inject.ts';

/** Meets PodSecurity restricted, whatever the pod's own settings are. */
export const RESTRICTED: V1SecurityContext = {
  runAsUser: SIDECAR.uid,
  runAsGroup: SIDECAR.uid,
  runAsNonRoot: true,
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
};

const complete = ({ resources }: V1Container): boolean =>
  (['cpu', 'memory'] as const).every((what) => {
    const limit = resources?.limits?.[what];
    return limit !== undefined && (resources?.requests?.[what] ?? limit) === limit;
  });

/** The pod's QoS class must stay what it was: a Guaranteed pod gets a sidecar with limits = requests. */
const resourcesFor = (pod: V1Pod): V1ResourceRequirements => {
  const all = [...pod.spec!.containers, ...(pod.spec!.initContainers ?? [])];
  return all.every(complete)
    ? { requests: { cpu: '200m', memory: '256Mi' }, limits: { cpu: '200m', memory: '256Mi' } }
    : { requests: { cpu: '10m', memory: '48Mi' }, limits: { memory: '256Mi' } };
};

/** The sidecar lets the app's connections end by themselves for nearly as long as the pod may take; its default fits 30 s. */
const graceOf = (pod: V1Pod): V1EnvVar[] => {
  const seconds = pod.spec!.terminationGracePeriodSeconds ?? 30;
  return seconds === 30 ? [] : [{ name: 'SHADOW_GRACE_SECONDS', value: `${Math.max(1, seconds - 5)}` }];
};

/** The sidecar's default is 60 s. Throws SHADOW_E_INJECT. */
const reattachOf = (pod: V1Pod): V1EnvVar[] => {
  const wish = pod.metadata?.annotations?.[ANNOTATION.reattach];
  if (wish === undefined) return [];
  if (wish !== 'off' && !/^\d{1,5}$/.test(wish))
    throw new ShadowError('SHADOW_E_INJECT', `annotation ${ANNOTATION.reattach}: "${wish}" is neither seconds nor off`);
  return [{ name: 'SHADOW_REATTACH_SECONDS', value: wish === 'off' ? '0' : wish }];
};

export const sidecarContainer = (
  pod: V1Pod,
  { brokers, secret }: Pick<Plan, 'brokers' | 'secret'>,
  { image, home = NAMESPACE }: Pick<InjectOptions, 'image' | 'home'>,
): V1Container => {
  const declared = new Set(pod.spec!.containers.flatMap(({ ports }) => ports?.map((port) => port.containerPort) ?? []));
  return {
    name: SIDECAR.container,
    image,
    imagePullPolicy: 'IfNotPresent',
    args: ['/app/sidecar.cjs'],
    restartPolicy: 'Always',
    env: [
      { name: 'SHADOW_BROKERS', value: JSON.stringify(brokers) },
      // Ports of the broker's hosts that are relayed blind: those the pod does not listen on itself.
      {
        name: 'SHADOW_BLIND_PORTS',
        value: JSON.stringify([...BLIND_PORTS, ...BLIND_TLS_PORTS].filter((port) => !declared.has(port))),
      },
      ...(home === NAMESPACE ? [] : [{ name: 'SHADOW_NAMESPACE', value: home }]),
      ...graceOf(pod),
      ...reattachOf(pod),
    ],
    resources: resourcesFor(pod),
    securityContext: RESTRICTED,
    // httpGet, never exec: an exec in a pod that is being dumped would be dumped too.
    startupProbe: { httpGet: { path: '/started', port: PORT.health }, periodSeconds: 1, failureThreshold: 60 },
    readinessProbe: { httpGet: { path: '/ready', port: PORT.health }, periodSeconds: 1, failureThreshold: 1 },
    volumeMounts: [
      { name: SIDECAR.runVolume, mountPath: SIDECAR.runDir },
      { name: SIDECAR.idVolume, mountPath: SIDECAR.idDir, readOnly: true },
      ...(secret === undefined ? [] : [{ name: SIDECAR.tlsVolume, mountPath: SIDECAR.tlsDir, readOnly: true }]),
    ],
  };
};

/** `secret`: with the CA of the brokers that are reached over TLS, and the client's certificate. */
export const sidecarVolumes = (secret: string | undefined): V1Volume[] => [
  { name: SIDECAR.runVolume, emptyDir: {} },
  {
    name: SIDECAR.idVolume,
    projected: {
      sources: [
        {
          downwardAPI: {
            items: ['uid', 'name', 'namespace'].map((path) => ({ path, fieldRef: { fieldPath: `metadata.${path}` } })),
          },
        },
        { serviceAccountToken: { path: 'token', audience: TOKEN_AUDIENCE, expirationSeconds: 3600 } },
        { configMap: { name: CA, optional: true, items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
      ],
    },
  },
  ...(secret === undefined ? [] : [{ name: SIDECAR.tlsVolume, secret: { secretName: secret } }]),
];
