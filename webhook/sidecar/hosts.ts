/** Which of a broker's hosts is tried first. Several are nodes of one cluster: any of them will do. */
import type net from 'node:net';

export interface Host {
  readonly host: string;
  readonly port: number;
}

/** One that did not answer is tried last for so long: each dial would wait for it anew. */
const SHUN_MS = 30_000;

/** `[fd00::7]:5672`, `rabbitmq.shop.svc:5672`. */
export const nameOf = ({ host, port }: Host): string => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`);

/** Those that failed within the last SHUN_MS behind the others, else in their own order. Pure; times in ms of one clock. */
export const inOrder = (hosts: readonly Host[], failedAt: ReadonlyMap<string, number>, now: number): Host[] => {
  const shunned = (each: Host): boolean => now - (failedAt.get(nameOf(each)) ?? Number.NEGATIVE_INFINITY) < SHUN_MS;
  return [...hosts.filter((each) => !shunned(each)), ...hosts.filter(shunned)];
};

export interface Dialled {
  readonly socket: net.Socket;
  readonly host: Host;
}

export class Hosts {
  private readonly failedAt = new Map<string, number>();
  private readonly now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.now = now;
  }

  /** It took the connection, and was of no use for all that. `name`: as `nameOf` has it. */
  shun(name: string): void {
    this.failedAt.set(name, this.now());
  }

  /** Rejects when none can be reached, with what the first said. */
  async dial(hosts: readonly Host[], connect: (host: Host) => Promise<net.Socket>): Promise<Dialled> {
    let failure: unknown = new Error('no host is given');
    let failed = false;
    for (const host of inOrder(hosts, this.failedAt, this.now())) {
      try {
        const socket = await connect(host);
        this.failedAt.delete(nameOf(host));
        return { socket, host };
      } catch (error) {
        if (!failed) failure = error;
        failed = true;
        this.shun(nameOf(host));
      }
    }
    throw failure;
  }
}
