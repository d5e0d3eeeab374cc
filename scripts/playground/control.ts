/** The control plane, CoreDNS and the broker: plain processes in network namespaces of their own. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { connect } from 'node:net';
import { join } from 'node:path';
import { ShadowError } from '../../webhook/api/errors.ts';
import type { Parts } from './build/parts.ts';
import {
  apiserverArgs,
  baseObjects,
  controllerManagerArgs,
  corefile,
  etcdArgs,
  PKI,
  proxyArgs,
  rabbitmqConf,
  schedulerArgs,
} from './config.ts';
import { ADDRESS, API_URL, BROKER, KUBECONFIG, LOGS, NETNS, netnsPath, RUN } from './layout.ts';
import { must, poll, type Ran, run, start, tail } from './run.ts';
import { record, type State } from './state.ts';

const inNetns = (netns: string): string[] => ['nsenter', `--net=${netnsPath(netns)}`];

const launch = (state: State, netns: string, name: string, argv: string[], env: Record<string, string> = {}): void => {
  record(state, name, start([...inNetns(netns), ...argv], join(LOGS, `${name}.log`), env));
};

/** One GET of the API server as admin; undefined when it does not answer with 200. */
export const apiGet = (path: string): Promise<string | undefined> =>
  new Promise((resolve) => {
    const read = (name: string): Buffer => readFileSync(join(PKI, name));
    const tls = { ca: read('ca.crt'), cert: read('admin.crt'), key: read('admin.key') };
    const call = request(`${API_URL}${path}`, { ...tls, timeout: 3000, agent: false }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('end', () => resolve(answer.statusCode === 200 ? Buffer.concat(chunks).toString() : undefined));
      answer.on('error', () => resolve(undefined));
    });
    call.on('timeout', () => call.destroy());
    call.on('error', () => resolve(undefined));
    call.end();
  });

export const startControlPlane = async (state: State, parts: Parts): Promise<void> => {
  const kube = (name: string): string => join(parts.kubernetes, name);
  const control = (name: string, argv: string[]): void => launch(state, NETNS.control, name, argv);
  control('etcd', [join(parts.etcd, 'usr/bin/etcd'), ...etcdArgs()]);
  control('kube-apiserver', [kube('kube-apiserver'), ...apiserverArgs()]);
  if ((await poll(90_000, 200, () => apiGet('/readyz'))) === undefined)
    throw new ShadowError(
      'SHADOW_E_INTERNAL',
      `the API server does not come up\n${tail(join(LOGS, 'kube-apiserver.log'))}`,
    );
  control('kube-controller-manager', [kube('kube-controller-manager'), ...controllerManagerArgs()]);
  control('kube-scheduler', [kube('kube-scheduler'), ...schedulerArgs()]);
  control('kube-proxy', [kube('kube-proxy'), ...proxyArgs('node-1', ADDRESS.control)]);
  writeFileSync(join(RUN, 'Corefile'), corefile());
  control('coredns', [join(parts.coredns, 'coredns'), '-conf', join(RUN, 'Corefile')]);
};

/** Applied once kube-system is there: the API server makes it a moment after it is ready. */
export const applyBase = async (parts: Parts): Promise<void> => {
  await poll(20_000, 100, () => apiGet('/api/v1/namespaces/kube-system'));
  const apply = ['apply', '--server-side', '--force-conflicts', '-f', '-'];
  await must([join(parts.kubernetes, 'kubectl'), `--kubeconfig=${KUBECONFIG}`, ...apply], {
    input: JSON.stringify(baseObjects()),
  });
};

const BROKER_DIR = join(RUN, 'broker');

/**
 * RabbitMQ apart from any other on the machine: own network namespace (so own epmd), name, cookie and directories.
 * Busy waiting of Erlang's schedulers is off: it would burn a core beside what is measured.
 */
const brokerEnv = (): Record<string, string> => ({
  HOME: BROKER_DIR,
  RABBITMQ_NODENAME: BROKER.nodename,
  RABBITMQ_CONF_ENV_FILE: join(BROKER_DIR, 'none'),
  RABBITMQ_CONFIG_FILE: join(BROKER_DIR, 'rabbitmq.conf'),
  RABBITMQ_ENABLED_PLUGINS_FILE: join(BROKER_DIR, 'enabled_plugins'),
  RABBITMQ_MNESIA_BASE: join(BROKER_DIR, 'mnesia'),
  RABBITMQ_LOG_BASE: join(BROKER_DIR, 'log'),
  RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '+sbwt none +sbwtdcpu none +sbwtdio none',
});

const PROGRAMS = '/usr/lib/rabbitmq/bin';

export const startBroker = (state: State): void => {
  mkdirSync(BROKER_DIR, { recursive: true });
  writeFileSync(join(BROKER_DIR, 'rabbitmq.conf'), rabbitmqConf());
  writeFileSync(join(BROKER_DIR, 'enabled_plugins'), '[].\n');
  // Started by us, not by Erlang as a daemon: so it is known and goes with the rest.
  launch(state, NETNS.broker, 'epmd', ['epmd'], brokerEnv());
  launch(state, NETNS.broker, 'rabbitmq', [join(PROGRAMS, 'rabbitmq-server')], brokerEnv());
};

const answers = (host: string, port: number): Promise<true | undefined> =>
  new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 1000 });
    const end = (answer: true | undefined) => {
      socket.destroy();
      resolve(answer);
    };
    socket.on('connect', () => end(true));
    socket.on('timeout', () => end(undefined));
    socket.on('error', () => end(undefined));
  });

export const brokerReady = async (): Promise<void> => {
  if ((await poll(60_000, 200, () => answers(ADDRESS.broker, BROKER.port))) === undefined)
    throw new ShadowError('SHADOW_E_INTERNAL', `RabbitMQ does not come up\n${tail(join(LOGS, 'rabbitmq.log'))}`);
};

export const rabbitmqctl = (args: readonly string[]): Promise<Ran> =>
  run([...inNetns(NETNS.broker), join(PROGRAMS, 'rabbitmqctl'), ...args], { env: brokerEnv() });
