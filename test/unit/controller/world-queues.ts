/** The broker of apps without the sidecar: who consumes from where, and what they were told. What they do is told at once. */
import type { Broker, Depth } from '../../../webhook/controller/ms2m/broker.ts';
import { controlQueueOf, queuesOf } from '../../../webhook/controller/ms2m/queues.ts';
import type { World } from './world.ts';
import type { Sidecar } from './world-sidecars.ts';

interface Command {
  type?: string;
  payload?: { queue: string };
}

export const QUEUE_CONFIG = { queueName: 'jobs', brokerUrl: 'amqp://mq', exchangeName: 'all', routingKey: '' };
const { primary, park } = queuesOf(QUEUE_CONFIG.queueName);

export class BareQueues {
  private readonly world: World;
  private readonly queues = new Set<string>([primary]);
  private readonly sent = new WeakMap<Sidecar, string>();
  /** Apps that do as they are told. */
  obeyed = true;
  /** Consumers of others. */
  others = 0;
  quorum = false;

  constructor(world: World) {
    this.world = world;
  }

  /** Of ours, and no app's any more. */
  left(): string[] {
    const living = [...this.world.pods.keys()].map(controlQueueOf);
    return [...this.queues].filter((name) => name !== primary && !living.includes(name));
  }

  /** Where this app consumes from, once it is connected. */
  private queueOf(app: Sidecar): string {
    if (app.state === 'idle') return primary;
    return this.sent.get(app) ?? park;
  }

  private depth(queue: string): Depth | undefined {
    if (!this.queues.has(queue)) return undefined;
    // The fence of a paused source cuts nobody off.
    const connected = [...this.world.sidecars.values()].filter(
      ({ app, fenced }) => app === 'paused' || (app === 'running' && !fenced),
    );
    const consumers = connected.filter((app) => this.queueOf(app) === queue).length;
    return { ready: 0, consumers: consumers + (queue === primary ? this.others : 0) };
  }

  private send(control: string, { type, payload }: Command): void {
    const pod = [...this.world.pods.keys()].find((name) => controlQueueOf(name) === control);
    const app = this.world.sidecars.get(this.world.pods.get(pod ?? '')?.metadata?.uid ?? '');
    if (app === undefined || app.app !== 'running' || app.fenced || !this.obeyed) return;
    const queue = payload?.queue ?? '';
    if (!this.queues.has(queue)) this.world.violate(`sent to ${queue}, which is not there`);
    app.state = type === 'START_REPLAY' ? 'mute' : 'idle';
    this.sent.set(app, queue);
  }

  broker(): Broker {
    const nothing = async (): Promise<void> => undefined;
    const calls: Broker = {
      declareQueue: async (name) => void this.queues.add(name),
      deleteQueue: async (name) => {
        if (this.depth(name)?.consumers) this.world.violate(`${name} was deleted under its consumer`);
        if (name === primary) this.world.violate('the queue of the app was deleted');
        this.queues.delete(name);
      },
      depth: async (queue) => this.depth(queue),
      isQuorum: async () => this.quorum,
      send: async (queue, message) => this.send(queue, message),
      peek: async () => [],
      ...{ declareExchange: nothing, bindQueue: nothing, unbindQueue: nothing, bindExchange: nothing },
      ...{
        unbindExchange: nothing,
        drop: nothing,
        pour: nothing,
        purge: nothing,
        deleteExchange: nothing,
        close: nothing,
      },
    };
    return Object.fromEntries(
      Object.entries(calls).map(([name, call]) => [
        name,
        (...given: never[]) =>
          this.world.call(`broker.${name}`, () => (call as (...all: never[]) => unknown)(...given)),
      ]),
    ) as unknown as Broker;
  }
}
