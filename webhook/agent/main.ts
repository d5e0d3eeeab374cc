/** The node agent: a privileged DaemonSet pod (hostPID). Environment: see `settings`. */
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { Histogram } from 'prom-client';
import { PORT } from '../api/names.ts';
import { createLog } from '../log.ts';
import { createRegistry, serveMetrics } from '../metrics.ts';
import { calls } from './calls.ts';
import { recoverCuts } from './cut.ts';
import { checkpointRefusal, type KubeletAccess, kubeletDriver } from './kubelet-driver.ts';
import { ENTER_NODE, LAYOUT, type Node, nodeOf, textOf } from './node.ts';
import { runcDriver } from './runc-driver.ts';
import { agentServer } from './server.ts';
import { collectGarbage, install } from './start.ts';
import { watchCredentials } from './tls.ts';

const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
const KUBELET_PORT = 10250;
/** Records of restored containers go with their pods (invariant 7): no call tells the agent when a pod goes. */
const SWEEP_MS = 5_000;
const KUBELET_CERTIFICATE = '/var/lib/kubelet/pki/kubelet.crt';

const settings = (environment: NodeJS.ProcessEnv) => ({
  /** Name of the node (downward API, spec.nodeName). */
  node: environment.NODE_NAME ?? hostname(),
  /** Address of the node (downward API, status.hostIP), for the kubelet's checkpoint API. */
  hostIP: environment.HOST_IP ?? '127.0.0.1',
  tls: environment.SHADOW_TLS_DIR ?? '/shadow/tls',
  runtime: environment.SHADOW_RUNTIME ?? join(dirname(process.argv[1] ?? ''), 'runtime'),
  /** How to enter the node's namespaces, words separated by spaces; empty: this process is in them. */
  enter: (environment.SHADOW_ENTER ?? ENTER_NODE.join(' ')).split(' ').filter(Boolean),
});

const kubeletOf = (node: Node, hostIP: string): KubeletAccess => ({
  host: hostIP,
  port: KUBELET_PORT,
  names: [node.name, hostIP],
  token: () => readFile(join(ACCOUNT, 'token'), 'utf8'),
  ca: async () => {
    const cluster = await readFile(join(ACCOUNT, 'ca.crt'), 'utf8');
    const own = await textOf(node.at(KUBELET_CERTIFICATE));
    return own === undefined ? [cluster] : [cluster, own];
  },
});

const log = createLog('agent');

const main = async (): Promise<void> => {
  const { node: name, hostIP, tls, runtime, enter } = settings(process.env);
  const node = nodeOf(name, LAYOUT, enter);
  await install(node, runtime);
  const [undone, removed] = [await recoverCuts(node), await collectGarbage(node)];
  log.info({ undone, removed }, 'started');

  const registry = createRegistry('agent');
  const duration = new Histogram({
    name: 'shadow_agent_call_seconds',
    help: 'Duration of the calls of the controller and of other agents',
    labelNames: ['call', 'code'],
    registers: [registry],
  });
  let listening = false;
  await serveMetrics({ registry, port: PORT.metrics, ready: () => listening, log });

  const credentials = watchCredentials(
    tls,
    (fresh) => server.setSecureContext(fresh),
    (error) => log.warn({ error: String(error) }, 'certificates could not be read; the old ones stay'),
  );
  const kubelet = kubeletOf(node, hostIP);
  const context = {
    node,
    drivers: { runc: runcDriver(node), kubelet: kubeletDriver(node, kubelet) },
    credentials: credentials.current,
    checkpointApi: () => checkpointRefusal(kubelet),
    warn: (message: string) => log.warn(message),
  };
  const server = agentServer(calls(context), credentials.current(), (call, milliseconds, error) => {
    duration.observe({ call, code: error?.code ?? '' }, milliseconds / 1000);
    log[error ? 'warn' : 'info']({ call, ms: Math.round(milliseconds), error: error?.message }, 'call');
  });
  server.listen(PORT.agent, () => {
    listening = true;
    log.info({ port: PORT.agent }, 'listening');
  });
  setInterval(() => {
    collectGarbage(node).catch((error: unknown) => log.warn({ error: String(error) }, 'sweeping'));
  }, SWEEP_MS);
  process.once('SIGTERM', () => process.exit(0));
};

main().catch((error: unknown) => {
  log.fatal(error, 'the agent cannot start');
  process.exit(1);
});
