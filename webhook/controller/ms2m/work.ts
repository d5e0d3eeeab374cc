/** Connections to brokers, kept while they last, and what apps were told: of this process alone, a new leader has none. */
import { setTimeout as sleep } from 'node:timers/promises';
import { connectBroker } from './amqp.ts';
import type { Broker } from './broker.ts';
import type { Telling } from './control.ts';

export interface QueueWork {
  /** Throws SHADOW_E_QUEUE. */
  broker(url: string): Promise<Broker>;
  told(claim: string): Telling['told'];
  pause(ms: number): Promise<unknown>;
  /** The handoff is over. */
  forget(claim: string, url: string): Promise<void>;
}

export const createQueueWork = (
  connect: typeof connectBroker = connectBroker,
  pause: QueueWork['pause'] = sleep,
): QueueWork => {
  const connections = new Map<string, Promise<Broker>>();
  const told = new Map<string, Telling['told']>();
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
    told: (claim) => {
      const known = told.get(claim) ?? new Map();
      told.set(claim, known);
      return known;
    },
    forget: async (claim, url) => {
      told.delete(claim);
      // Another handoff may use it: it dials again.
      const open = connections.get(url);
      connections.delete(url);
      await (await open?.catch(() => undefined))?.close();
    },
  };
};
