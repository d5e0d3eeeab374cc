/** What the simulated app remembers: its state, a hash chain for each queue over what it applied, in order. */
import { chained } from '../random.ts';

/** One thing the app was given, in the order in which it was. */
export interface Entry {
  /** The queue of the consumer. */
  readonly queue: string;
  /** Number of an input, correlation id of a reply. */
  readonly item: string;
  /** applied; refused: handed back; again: applied before, so that only its handling was repeated. */
  readonly what: 'applied' | 'refused' | 'again';
  readonly redelivered: boolean;
}

export class Memory {
  readonly log: Entry[] = [];
  /** What was applied, in order: the chains are the replay of it. By queue. */
  readonly linked: { readonly queue: string; readonly item: string }[] = [];
  readonly chains = new Map<string, string>();
  /** Inputs that are applied, or going to be. */
  readonly taken = new Set<string>();
  private readonly refused = new Set<string>();
  /** The chain right after each item: part of the item's outputs. */
  private readonly states = new Map<string, string>();

  /** An input comes; `refusable`: it is handed back the first time. */
  see(queue: string, item: string, redelivered: boolean, refusable: boolean): Entry['what'] {
    const key = `${queue}/${item}`;
    const again = this.taken.has(key);
    const refuses = !again && refusable && !this.refused.has(key);
    const what = again ? 'again' : refuses ? 'refused' : 'applied';
    if (refuses) this.refused.add(key);
    if (what === 'applied') this.taken.add(key);
    this.log.push({ queue, item, what, redelivered });
    return what;
  }

  answer(queue: string, correlation: string, redelivered: boolean): void {
    const again = this.states.has(`${queue}/${correlation}`);
    this.log.push({ queue, item: correlation, what: again ? 'again' : 'applied', redelivered });
    if (!again) this.apply(queue, correlation);
  }

  /** Once: returns the state it was applied in. */
  apply(queue: string, item: string): string {
    const key = `${queue}/${item}`;
    const known = this.states.get(key);
    if (known !== undefined) return known;
    const chain = chained(this.chains.get(queue) ?? '', item);
    this.chains.set(queue, chain);
    this.states.set(key, chain);
    this.linked.push({ queue, item });
    return chain;
  }

  stateOf(queue: string, item: string): string | undefined {
    return this.states.get(`${queue}/${item}`);
  }
}
