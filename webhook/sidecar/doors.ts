/** Where the relay listens, and for what. Pure. */
import type { Host } from './hosts.ts';

export interface Broker extends Host {
  /** Loopback address the app is led to. */
  readonly listen: string;
  /** Another one, where the pod has it. */
  readonly listenToo?: string | undefined;
  /** It and the others are spoken to over TLS; the app speaks none. */
  readonly tls?: boolean | undefined;
  /** Further nodes of its cluster, in the order in which they are tried. */
  readonly others?: readonly Host[] | undefined;
}

export interface Door {
  readonly address: string;
  readonly port: number;
  readonly broker: Broker;
  /** Bytes pass to the same port of the broker's host; else it is AMQP, to the port of the broker. */
  readonly blind: boolean;
  /** The pod may lack the address, or serve that port itself. */
  readonly optional: boolean;
}

/** Each address and port once; AMQP comes before what is blind. */
export const doorsOf = (brokers: readonly Broker[], blindPorts: readonly number[]): Door[] => {
  const all = [
    ...brokers.flatMap((broker): Door[] => {
      const door = { port: broker.port, broker, blind: false };
      const too = broker.listenToo === undefined ? [] : [{ ...door, address: broker.listenToo, optional: true }];
      return [{ ...door, address: broker.listen, optional: false }, ...too];
    }),
    ...brokers.flatMap((broker) =>
      [broker.listen, ...(broker.listenToo === undefined ? [] : [broker.listenToo])].flatMap((address) =>
        blindPorts.map((port): Door => ({ address, port, broker, blind: true, optional: true })),
      ),
    ),
  ];
  const taken = new Set<string>();
  return all.filter(({ address, port }) => {
    const key = `${address} ${port}`;
    if (taken.has(key)) return false;
    taken.add(key);
    return true;
  });
};
