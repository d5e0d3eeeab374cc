/** What a replica remembers, in memory only: losing it, repeating or reordering a message shows in the hash. */
import { createHash } from 'node:crypto';

export interface Snapshot {
  /** The replica's name when it started. */
  consumer: string;
  /** Random per process: the same one later means that its memory lived on. */
  instance: string;
  /** RFC 3339. */
  startedAt: string;
  count: number;
  /** h = sha256(h || body) over every message applied, from 32 zero bytes; hex. */
  hash: string;
  /** Sequence number applied last. */
  last: number | null;
  /** Every sequence number applied, in order. */
  list: number[];
  /** Deliveries the broker marked as redelivered. */
  redelivered: number;
}

export class State {
  readonly #name: { consumer: string; instance: string; startedAt: string };
  readonly #list: number[] = [];
  #hash: Buffer = Buffer.alloc(32);
  #redelivered = 0;

  constructor(name: { consumer: string; instance: string; startedAt: string }) {
    this.#name = name;
  }

  /** Returns the index of the message in this replica's history, from 1. */
  apply(seq: number, body: Buffer, redelivered: boolean): number {
    this.#hash = createHash('sha256').update(this.#hash).update(body).digest();
    if (redelivered) this.#redelivered += 1;
    return this.#list.push(seq);
  }

  summary(): Pick<Snapshot, 'count' | 'hash' | 'last'> {
    return { count: this.#list.length, hash: this.#hash.toString('hex'), last: this.#list.at(-1) ?? null };
  }

  snapshot(): Snapshot {
    return { ...this.#name, ...this.summary(), list: this.#list, redelivered: this.#redelivered };
  }
}
