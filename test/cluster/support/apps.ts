/** Manifests of the test apps: a StatefulSet named after its topic, under PodSecurity restricted. */
import type { V1Container, V1Deployment, V1Namespace, V1StatefulSet } from '@kubernetes/client-node';
import { LABEL } from '../../../webhook/api/names.ts';
import { CLIENT, type ClientName } from '../../clients/clients.ts';

export interface AppSpec {
  /** Name of the set and topic of its queues. */
  topic: string;
  mode: string;
  /** Instead of a worker of this mode, the one of that client. */
  client?: ClientName;
  namespace: string;
  replicas?: number;
  prefetch?: number;
  /** Names of the containers; each has a connection of its own. Default: one. */
  containers?: readonly string[];
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  /** It declares its input queue, as a classic one by name; else somebody else does, and its sidecar can't know the type. */
  declares?: boolean;
  /** More of its environment. */
  env?: Record<string, string>;
}

export const BROKER = 'amqp://shadow:shadow@rabbitmq.rabbitmq.svc.cluster.local:5672';
const FIRST_PORT = 8080;

export const namespaceObject = (name: string): V1Namespace => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name, labels: { [LABEL.injection]: 'enabled', 'pod-security.kubernetes.io/enforce': 'restricted' } },
});

const envOf = (env: Record<string, string | number>): { name: string; value: string }[] =>
  Object.entries(env).map(([name, value]) => ({ name, value: String(value) }));

const restricted = (
  part: Pick<V1Container, 'name' | 'image' | 'args' | 'env' | 'volumeMounts'>,
  port: number,
): V1Container => ({
  ...part,
  imagePullPolicy: 'IfNotPresent',
  ports: [{ name: `http-${port}`, containerPort: port }],
  readinessProbe: { httpGet: { path: '/', port }, periodSeconds: 1 },
  resources: { requests: { cpu: '20m', memory: '64Mi' }, limits: { memory: '192Mi' } },
  securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
});

const workerContainers = ({
  topic,
  mode,
  prefetch = 20,
  containers = [''],
  declares = false,
  env: more = {},
}: AppSpec): V1Container[] =>
  containers.map((name, index) => {
    const port = FIRST_PORT + index;
    const env = {
      ...{ AMQP_URL: BROKER, TOPIC: topic, MODE: mode, PREFETCH: prefetch, CONTAINER: name, PORT: port },
      ...(declares ? { DECLARE: 1 } : {}),
      ...more,
    };
    return restricted(
      {
        name: name || 'app',
        image: 'localhost/shadow-examples:dev',
        args: ['--max-old-space-size=64', '/app/examples/worker.cjs'],
        env: envOf(env),
        volumeMounts: [{ name: 'tmp', mountPath: '/tmp' }],
      },
      port,
    );
  });

const clientContainer = ({ topic, prefetch = 20 }: AppSpec, client: ClientName): V1Container => {
  const { image, args } = CLIENT[client].container;
  return restricted(
    {
      name: 'app',
      image,
      args: [...args],
      env: envOf({ AMQP_URL: `${BROKER}/%2f`, TOPIC: topic, PREFETCH: prefetch, PORT: FIRST_PORT }),
      volumeMounts: [{ name: 'tmp', mountPath: '/tmp' }],
    },
    FIRST_PORT,
  );
};

export const appSet = (spec: AppSpec): V1StatefulSet => {
  const labels = { app: spec.topic };
  return {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name: spec.topic, namespace: spec.namespace },
    spec: {
      serviceName: spec.topic,
      replicas: spec.replicas ?? 1,
      podManagementPolicy: 'Parallel',
      selector: { matchLabels: labels },
      template: {
        metadata: { labels: { ...labels, ...spec.labels }, annotations: spec.annotations ?? {} },
        spec: {
          terminationGracePeriodSeconds: 5,
          securityContext: {
            runAsNonRoot: true,
            runAsUser: 1000,
            runAsGroup: 1000,
            seccompProfile: { type: 'RuntimeDefault' },
          },
          containers: spec.client === undefined ? workerContainers(spec) : [clientContainer(spec, spec.client)],
          volumes: [{ name: 'tmp', emptyDir: {} }],
        },
      },
    },
  };
};

/** The same pods, of a Deployment: their names are not known beforehand. */
export const appDeployment = (spec: AppSpec): V1Deployment => {
  const { metadata, spec: set } = appSet(spec);
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: metadata!,
    spec: { replicas: set!.replicas!, selector: set!.selector, template: set!.template },
  };
};

/** Ports at which the app's containers tell their state. */
export const statePorts = ({ containers = [''] }: AppSpec): number[] =>
  containers.map((_, index) => FIRST_PORT + index);

export const podNames = ({ topic, replicas = 1 }: AppSpec): string[] =>
  Array.from({ length: replicas }, (_, ordinal) => `${topic}-${ordinal}`);
