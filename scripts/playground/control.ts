/** The control plane and CoreDNS: plain processes in a network namespace of their own. */
import { readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
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
  schedulerArgs,
} from './config.ts';
import { launch } from './launch.ts';
import { ADDRESS, API_URL, KUBECONFIG, LOGS, NETNS, RUN } from './layout.ts';
import { must, poll, tail } from './run.ts';
import type { State } from './state.ts';

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
