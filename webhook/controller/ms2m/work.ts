/** Connections to brokers, kept while they last, and what was told and seen: of this process alone, a new leader has none. */
import { setTimeout as sleep } from 'node:timers/promises';
import { connectBroker } from './amqp.ts';
import type { Broker } from './broker.ts';
import type { Memory } from './control.ts';

export interface QueueWork {
  /** Throws SHADOW_E_QUEUE. */
  broker(url: string): Promise<Broker>;
  memory(claim: string): Memory;
  pause(ms: number): Promise<unknown>;
  /** The handoff is over. */
  forget(claim: string, url: string): Promise<void>;
}

export const createQueueWork = (
  connect: typeof connectBroker = connectBroker,
  pause: QueueWork['pause'] = sleep,
): QueueWork => {
  const connections = new Map<string, Promise<Broker>>();
  const memories = new Map<string, Memory>();
  const dial = (url: string): Promise<Broker> => {
    const drop = (): void => void connections.delete(url);
    const dialled = connect(url, drop);
    dialled.catch(drop);
    connections.set(url, dialled);
    return dialled;
  };
  return {
    pause,
    broker: (url) => connections.get(url) ?? dial(url),
    memory: (claim) => {
      const known = memories.get(claim) ?? { told: new Map() };
      memories.set(claim, known);
      return known;
    },
    forget: async (claim, url) => {
      memories.delete(claim);
      // Another handoff may use it: it dials again.
      const open = connections.get(url);
      connections.delete(url);
      await (await open?.catch(() => undefined))?.close();
    },
  };
};
