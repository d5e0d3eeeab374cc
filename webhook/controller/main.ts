/** The controller: two run, one leads. SHADOW_NAMESPACE, POD_NAME, SHADOW_IMAGE; certificates in /shadow/tls. */
import { randomBytes } from 'node:crypto';
import { AuthenticationV1Api, KubeConfig, type V1Pod } from '@kubernetes/client-node';
import { Counter, Histogram, type Registry } from 'prom-client';
import { NAMESPACE, PORT } from '../api/names.ts';
import { createLog } from '../log.ts';
import { createRegistry, serveMetrics } from '../metrics.ts';
import { createAgents, readTls } from './agents.ts';
import { createCluster, mirror, sourceOf } from './cluster.ts';
import { tokenReviewer } from './hub/authenticate.ts';
import { createHub } from './hub/hub.ts';
import { AGENT_SELECTOR, type Lead, lead, takeService } from './leadership.ts';
import { Election, leaseStore } from './lease.ts';
import type { Measures } from './observer.ts';
import { Reflector } from './reflector.ts';
import { Rest } from './rest.ts';
import { reportWriter, Survey } from './survey.ts';

const TLS_DIR = '/shadow/tls';

const measuresOf = (registry: Registry): Measures => {
  const buckets = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60];
  const registers = [registry];
  const steps = new Histogram({
    name: 'shadow_step_seconds',
    help: 'How long a step of a handoff took.',
    labelNames: ['step'],
    buckets,
    registers,
  });
  const pauses = new Histogram({
    name: 'shadow_pause_seconds',
    help: 'From muting the source until the copy was live.',
    buckets,
    registers,
  });
  const ended = new Counter({
    name: 'shadow_migrations_total',
    help: 'Migrations that have ended.',
    labelNames: ['phase'],
    registers,
  });
  return {
    step: (step, ms) => steps.observe({ step }, ms / 1_000),
    pause: (ms) => pauses.observe(ms / 1_000),
    ended: (phase) => ended.inc({ phase }),
  };
};

const main = async (): Promise<void> => {
  const log = createLog('controller');
  const { env } = process;
  const namespace = env.SHADOW_NAMESPACE ?? NAMESPACE;
  const me = env.POD_NAME ?? '';
  const probeImage = env.SHADOW_IMAGE ?? '';
  if (me === '' || probeImage === '') throw new Error('POD_NAME and SHADOW_IMAGE must be set');
  const onError = (error: unknown) => log.warn({ err: error }, 'Kubernetes API');
  const config = new KubeConfig();
  config.loadFromDefault();
  const rest = new Rest(config);
  const registry = createRegistry('controller');
  await serveMetrics({ registry, port: PORT.metrics, ready: () => true, log });

  const election = new Election({
    store: leaseStore(rest, namespace),
    identity: `${me}/${randomBytes(4).toString('hex')}`,
    onError,
  });
  let leading: Lead | undefined;
  let survey: Survey | undefined;
  let stopping = false;
  const stop = async (): Promise<void> => {
    if (stopping) return;
    stopping = true;
    log.info('stopping');
    await leading?.stop();
    await election.release();
    process.exit(0);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);

  // The mirrors fill while another leads: a new leader has them at once.
  const mirrors = mirror(
    rest,
    (migration) => leading?.onMigration(migration),
    (pod) => leading?.onPod(pod),
  );
  const agentPods = new Reflector<V1Pod>(
    sourceOf(rest, `/api/v1/namespaces/${namespace}/pods`, { labelSelector: AGENT_SELECTOR }),
    () => survey?.soon(),
  );
  const filled = Promise.all([mirrors.migrations, mirrors.pods, agentPods].map((one) => one.start(onError)));

  const epoch = await election.acquire();
  if (epoch === undefined || stopping) return;
  log.info({ epoch }, 'leading');
  // A leader that lost its lease stops at once: what it has under way is refused by epoch and resourceVersion.
  election.keep().then(() => {
    if (stopping) return;
    log.error('the lease is lost');
    process.exit(1);
  });
  await filled;
  const cluster = createCluster(rest, mirrors, { namespace, instance: me, onError });
  const hub = createHub({
    tlsDir: TLS_DIR,
    authenticate: tokenReviewer(config.makeApiClient(AuthenticationV1Api)),
    epoch: () => epoch,
    log,
  });
  const agents = createAgents({ tls: () => readTls(TLS_DIR), pods: () => agentPods.all() });
  leading = lead({ epoch, cluster, agents, hub, home: namespace, probeImage, log, measures: measuresOf(registry) });
  await leading.start();
  await takeService(cluster, namespace, me);
  survey = new Survey({ cluster, agents, epoch, write: reportWriter(rest, namespace), onError });
  survey.start();
};

main().catch((error: unknown) => {
  createLog('controller').fatal({ err: error }, 'cannot run');
  process.exit(1);
});
