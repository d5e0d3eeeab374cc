/** The example on the playground, under load, moved to another node by who types it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ChannelModel, connect } from 'amqplib';
import { Producer } from '../../manifests/examples/producer/producer.ts';
import { getPod, type Kube, kubeFrom, otherNode } from '../demonstration/kube.ts';
import { deploy, NAMESPACE, PODS, remove } from '../demonstration/workload.ts';
import type { Parts } from '../playground/build/parts.ts';
import { RUN } from '../playground/layout.ts';
import { brokerUrl, ensureUp, kubeconfigPath } from '../playground/lib.ts';
import type { Cast } from './cast.ts';
import { recordSession } from './session.ts';

const POD = PODS[0];
/** Wide enough for the tables at the end, high enough for the tree unfolded. */
const [COLUMNS, ROWS] = [110, 34];
const RATE = 60;
/** Of load, before it is typed. */
const STEADY_MS = 4000;

const type = async (kube: Kube): Promise<Cast> => {
  const from = (await getPod(kube, NAMESPACE, POD))?.spec?.nodeName;
  const to = await otherNode(kube, from);
  const { kubernetes } = JSON.parse(readFileSync(join(RUN, 'parts.json'), 'utf8')) as Parts;
  const path = [join(import.meta.dirname, '../../plugin/bin'), kubernetes, process.env.PATH].join(':');
  const { cast, exits } = await recordSession({
    commands: [`kubectl shadow migrate pod/${POD} -n ${NAMESPACE} --to ${to}`],
    columns: COLUMNS,
    rows: ROWS,
    title: `A terminal: kubectl shadow migrate moves pod ${POD} from ${from} to ${to}, step by step, while it serves ${RATE} messages a second`,
    env: { PATH: path, KUBECONFIG: kubeconfigPath() },
    timeoutMs: 120_000,
  });
  if (exits.some((code) => code !== 0))
    throw new Error(`the migration ended with ${exits.join(', ')}; nothing is kept`);
  return cast;
};

const underLoad = async (kube: Kube, broker: ChannelModel): Promise<Cast> => {
  const producer = new Producer(await broker.createConfirmChannel(), { rate: RATE, burst: 1 });
  const producing = producer.run();
  try {
    await sleep(STEADY_MS);
    return await type(kube);
  } finally {
    producer.stop();
    await producing;
  }
};

/** Brings the playground up if it is not, and leaves it up without the example. */
export const recordMigration = async (say: (line: string) => void): Promise<Cast> => {
  await ensureUp({ log: say });
  const kube = kubeFrom(kubeconfigPath());
  const broker = await connect(brokerUrl());
  try {
    const channel = await broker.createChannel();
    say('Deploying the example');
    try {
      await deploy(kube, channel);
      say(`Recording, at ${RATE} messages a second`);
      return await underLoad(kube, broker);
    } finally {
      await remove(kube, channel);
    }
  } finally {
    await broker.close().catch(() => undefined);
  }
};
