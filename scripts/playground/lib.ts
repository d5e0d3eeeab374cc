/** The playground for tests, demo and benchmarks. Everything here needs root. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { importEverywhere } from '../images/import.ts';
import type { Parts } from './build/parts.ts';
import { clean } from './clean.ts';
import { bringUp, nodeReady } from './cluster.ts';
import { PKI } from './config.ts';
import { install } from './deploy.ts';
import { ADDRESS, BROKER, KUBECONFIG, type NodeName, RUN } from './layout.ts';
import { alone } from './lock.ts';
import { initPid, powerOn as powerOnNode } from './node.ts';
import type { Series } from './rabbitmq.ts';

export { importImage } from '../images/import.ts';
export { buildImage } from '../images/oci.ts';
export { brokerSeries, rabbitmqctl, restartBroker } from './broker.ts';
export type { NodeName } from './layout.ts';
export { nodeExec, powerCut } from './node.ts';
export { importEverywhere };

export const kubeconfigPath = (): string => KUBECONFIG;

/** Reachable from the machine itself; pods use rabbitmq.rabbitmq.svc. */
export const brokerUrl = (): string => `amqp://${BROKER.user}:${BROKER.password}@${ADDRESS.broker}:${BROKER.port}`;

/** PEM: who signed the broker's certificate. */
export const brokerCa = (): string => readFileSync(join(PKI, 'ca.crt'), 'utf8');

/** Resolves when the node is Ready again. */
export const powerOn = async (node: NodeName): Promise<void> => {
  const since = initPid(node) === undefined ? Date.now() : 0;
  await powerOnNode(node, JSON.parse(readFileSync(join(RUN, 'parts.json'), 'utf8')) as Parts);
  await nodeReady(node, since);
};

export interface UpOptions {
  readonly log: (line: string) => void;
  /** false: the bare cluster, without kubectl-shadow in it. */
  readonly install?: boolean;
  /** Which RabbitMQ; default: the one it has, at first the machine's. */
  readonly rabbitmq?: Series | undefined;
}

/** A healthy playground with our images and components in it; quick when it is there already. */
export const ensureUp = ({ log, install: withInstall = true, rabbitmq }: UpOptions): Promise<void> =>
  alone(log, async () => {
    await bringUp(log, rabbitmq);
    if (withInstall) await install(log);
  });

/** Ends the playground and removes every trace; says what there was. */
export const down = (log: (line: string) => void = () => undefined): Promise<string[]> => alone(log, clean);
