/**
 * What the app has declared over a connection, by name. A broker that comes back without it (it was not durable, or its disk is
 * new) would drop what the app publishes, and confirm it: only an app that knows of the loss declares it again (invariant 1).
 */

/** Of either kind. An app that makes up names without end is told of its losses. */
export const MOST_NAMES = 1000;

export interface Names {
  readonly queues: ReadonlySet<string>;
  readonly exchanges: ReadonlySet<string>;
}

export class Topology implements Names {
  readonly queues = new Set<string>();
  readonly exchanges = new Set<string>();

  addQueue(name: string): void {
    if (this.queues.size <= MOST_NAMES) this.queues.add(name);
  }

  addExchange(name: string): void {
    if (this.exchanges.size <= MOST_NAMES) this.exchanges.add(name);
  }

  /** Not all of them are known. */
  get vague(): boolean {
    return this.queues.size > MOST_NAMES || this.exchanges.size > MOST_NAMES;
  }
}
