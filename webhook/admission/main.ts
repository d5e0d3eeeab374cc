/** shadow-webhook: admission over HTTPS with a certificate of our own CA, which it owns and renews while it runs. */
import { createServer, type Server } from 'node:https';
import { isIPv6 } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { KubeConfig } from '@kubernetes/client-node';
import packageJson from '../../package.json' with { type: 'json' };
import { NAMESPACE, PORT } from '../api/names.ts';
import { createLog, type Log } from '../log.ts';
import { createRegistry, serveMetrics } from '../metrics.ts';
import { caConfigMap, publish } from './ca/publish.ts';
import { ensureTrust, type Trust } from './ca/secrets.ts';
import { type Kube, kubeOf } from './kube.ts';
import { admissionApp } from './server.ts';

/** How often certificates and bundles are looked after. Also how long a webhook configuration applied anew lacks its bundle. */
const LOOK_MS = 30_000;
const RETRY_MS = 1_000;

interface State {
  trust?: Trust;
  published: boolean;
  server?: Server;
}

const lookAfter = async (kube: Kube, state: State): Promise<void> => {
  const trust = await ensureTrust(kube.secrets, Date.now());
  if (trust.serving.cert !== state.trust?.serving.cert) state.server?.setSecureContext(trust.serving);
  state.trust = trust;
  await publish(kube.publisher, trust.bundle);
  state.published = true;
};

const TELL_MS = 1_000;

/**
 * The sidecars of a namespace need the CA. The volume is optional, so no pod waits for it; but one that starts without it finds
 * it only when the kubelet looks at the volume again, after a minute or more. So the admission waits for it, a moment at most.
 * Asked anew for each pod: a namespace may have been deleted and made again since.
 */
const tell = async (kube: Kube, state: State, log: Log, namespace: string): Promise<void> => {
  if (!state.trust) return;
  const made = kube.publisher.createConfigMap(caConfigMap(namespace, state.trust.bundle)).catch((error: unknown) => {
    log.warn({ err: error, namespace }, 'CA not published there');
  });
  await Promise.race([made, sleep(TELL_MS, undefined, { ref: false })]);
};

/** The first time as often as it takes: nothing can be served without it. Later a failed look is made good by the next. */
const firstLook = async (kube: Kube, state: State, log: Log, signal: AbortSignal): Promise<void> => {
  while (!state.published && !signal.aborted) {
    await lookAfter(kube, state).catch(async (error: unknown) => {
      log.warn({ err: error }, 'CA not ready');
      await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
    });
  }
};

const listen = (server: Server): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(PORT.webhook, resolve);
  });

const main = async (env: NodeJS.ProcessEnv): Promise<void> => {
  const log = createLog('webhook', env);
  const image = env.SHADOW_IMAGE;
  if (!image) throw new Error('SHADOW_IMAGE is not set: the image to inject');
  const config = new KubeConfig();
  config.loadFromCluster();
  const home = env.SHADOW_NAMESPACE ?? NAMESPACE;
  const kube = kubeOf(config, home);
  const state: State = { published: false };
  const registry = createRegistry('webhook');
  const stop = new AbortController();
  const ready = (): boolean => state.published && state.server?.listening === true && !stop.signal.aborted;
  const metrics = await serveMetrics({ registry, port: PORT.metrics, ready, log });
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort());

  await firstLook(kube, state, log, stop.signal);
  if (!state.trust) return metrics.close();
  const app = admissionApp({
    image,
    version: packageJson.version,
    namespace: home,
    // The family a cluster has one address of is its first; its pods may have no other.
    ipv6: isIPv6(env.KUBERNETES_SERVICE_HOST ?? ''),
    migrations: kube.migrations,
    onInjected: (namespace) => tell(kube, state, log, namespace),
    onSkipped: (pod, namespace, reason) => {
      kube.skipped(pod, namespace, reason).catch((error: unknown) => log.warn({ err: error, namespace }, 'no event'));
    },
    registry,
    log,
  });
  const server = createServer({ ...state.trust.serving, minVersion: 'TLSv1.2' }, app);
  state.server = server;
  await listen(server);
  log.info({ port: PORT.webhook, image }, 'serving');

  while (!stop.signal.aborted) {
    await sleep(LOOK_MS, undefined, { signal: stop.signal }).catch(() => undefined);
    if (!stop.signal.aborted) {
      await lookAfter(kube, state).catch((error: unknown) => log.warn({ err: error }, 'CA not looked after'));
    }
  }
  // The endpoint goes first, then the listener: what is on its way is still answered.
  await sleep(2_000);
  server.close();
  server.closeIdleConnections();
  await metrics.close();
  log.info('stopped');
};

main(process.env).catch((error: unknown) => {
  createLog('webhook').fatal({ err: error }, 'cannot go on');
  process.exitCode = 1;
  process.exit();
});
