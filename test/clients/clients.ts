/** The clients of the matrix: how each one's worker runs in a pod, and how on this machine. */
import { join } from 'node:path';
import type { BuiltImage } from '../../scripts/images/oci.ts';
import { IMAGE } from '../../scripts/images/ours.ts';
import { PYTHON, pikaPackage } from '../../scripts/images/python.ts';
import { goWorker, javaWorker } from './builds.ts';
import { CLIENT_IMAGE, goImage, javaImage, pikaImage } from './images.ts';

export const CLIENTS = ['amqplib', 'rabbitmq-client', 'amqp-connection-manager', 'pika', 'java', 'go'] as const;
export type ClientName = (typeof CLIENTS)[number];

export interface Command {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export interface Client {
  /** For people: the package, and its language. */
  readonly title: string;
  readonly container: { readonly image: string; readonly args: readonly string[] };
  /** Makes the image of its container, where that is not the examples' one, which the playground brings. */
  readonly image: (() => Promise<BuiltImage>) | undefined;
  /** Runs its worker on this machine, made if need be. */
  readonly local: () => Promise<Command>;
}

/** Half of the container's memory, in every runtime that asks. */
const HEAP_MB = 64;

const inNode = (name: ClientName): Client => ({
  title: `${name} (Node.js)`,
  container: { image: IMAGE.examples, args: [`--max-old-space-size=${HEAP_MB}`, `/app/examples/${name}.cjs`] },
  image: undefined,
  local: async () => ({ argv: [process.execPath, join(import.meta.dirname, name, 'main.ts')], env: {} }),
});

const JAVA_FLAGS = [`-Xmx${HEAP_MB}m`, '-XX:+UseSerialGC'];

export const CLIENT: Readonly<Record<ClientName, Client>> = {
  amqplib: inNode('amqplib'),
  'rabbitmq-client': inNode('rabbitmq-client'),
  'amqp-connection-manager': inNode('amqp-connection-manager'),
  pika: {
    title: 'pika (Python)',
    container: { image: CLIENT_IMAGE.pika, args: [] },
    image: pikaImage,
    local: async () => ({
      argv: [PYTHON, join(import.meta.dirname, 'pika/worker.py')],
      env: { PYTHONPATH: await pikaPackage(), PYTHONDONTWRITEBYTECODE: '1', PYTHONUNBUFFERED: '1' },
    }),
  },
  java: {
    title: 'com.rabbitmq:amqp-client (Java)',
    container: { image: CLIENT_IMAGE.java, args: [...JAVA_FLAGS, '-cp', '/app:/app/*', 'Worker'] },
    image: javaImage,
    local: async () => {
      const entry = await javaWorker();
      const app = join(entry, 'app');
      return { argv: [join(entry, 'runtime/bin/java'), ...JAVA_FLAGS, '-cp', `${app}:${app}/*`, 'Worker'], env: {} };
    },
  },
  go: {
    title: 'amqp091-go (Go)',
    container: { image: CLIENT_IMAGE.go, args: [] },
    image: goImage,
    local: async () => ({ argv: [join(await goWorker(), 'worker')], env: {} }),
  },
};
