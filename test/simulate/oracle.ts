/**
 * Judges one seed by what the broker and the apps saw, sharing no code with the sidecar (docs/invariants.md). It is told by the
 * taps and by the world outside while things happen; what can be judged only in the end is in verdict.ts.
 */
import type { App } from './app/app.ts';
import type { Given, Tap, TapEvents } from './tap.ts';

export interface Violation {
  readonly invariant: string;
  readonly what: string;
}

export interface Collected {
  count: number;
  readonly chains: Set<string>;
}

/** Lines kept of each part. */
const TRACE = Number(process.env.SIM_TRACE ?? 60);
export const keyOf = ({ queue, item }: { queue: string; item: string }): string => `${queue}/${item}`;
const bump = (counts: Map<string, number>, key: string, by = 1): number => {
  const count = (counts.get(key) ?? 0) + by;
  counts.set(key, count);
  return count;
};

export class Oracle implements TapEvents {
  readonly violations: Violation[] = [];
  readonly traces = new Map<string, string[]>();
  /** Counts of what happened, for the summary. */
  readonly counts = new Map<string, number>();
  /** Per line and queue, in order. */
  readonly givenTo = new Map<string, Given[]>();
  /** How often each publish was seen on its way to the broker. */
  readonly reached = new Map<string, number>();
  readonly collected = new Map<string, Collected>();
  readonly called = new Map<string, number>();
  /** Went back by a crash from under an app that had it: may be handed to one that has applied it. */
  readonly crashed = new Set<string>();
  /** Published or not when a connection broke: it may come twice. */
  readonly doubtful = new Set<string>();
  readonly perhapsLost = new Set<string>();
  /** A connection is being broken on purpose: what goes back by that is no fault. */
  breaking = false;
  /** Connections to the broker are lost between handoffs. */
  lossy = false;
  /** How long the line's log was when a connection of it broke: what was under way to the app then, it has not seen. */
  readonly brokenAt: number[] = [];
  /**
   * The app does things by time, and its source's word is to stand for them: what the source has settled makes room for more,
   * whatever the copy's app holds.
   */
  reports = false;
  /** A copy's outputs were replaced by its source's, which were made in another state. */
  diverged = false;
  clock: () => number = () => 0;
  private readonly classic: boolean;
  private readonly confirmedByBroker = new Set<string>();
  /** How often a message went back to its queue: so often it may come flagged as redelivered. */
  private readonly returns = new Map<string, number>();
  /** Given to somebody. */
  private readonly known = new Set<string>();
  private readonly confirmsSeen = new WeakMap<App, number>();
  private readonly resetsSeen = new WeakMap<App, number>();

  constructor(classic: boolean) {
    this.classic = classic;
  }

  wrong(invariant: string, what: string): void {
    this.violations.push({ invariant, what });
    this.trace('oracle', `VIOLATION ${invariant}: ${what}`);
  }

  trace(part: string, what: string): void {
    const lines = this.traces.get(part) ?? [];
    this.traces.set(part, lines);
    lines.push(`${this.clock()} ${what}`);
    if (lines.length > TRACE) lines.splice(0, lines.length - TRACE);
  }

  count(what: string, by = 1): void {
    bump(this.counts, what, by);
  }

  // ---- told by the taps

  given({ line, name }: Tap, message: Given): void {
    const key = `${line} ${message.queue}`;
    const list = this.givenTo.get(key) ?? [];
    this.givenTo.set(key, list);
    list.push(message);
    this.count('deliveries');
    const first = !this.known.has(keyOf(message));
    this.known.add(keyOf(message));
    if (!message.redelivered) return;
    this.count('redeliveries');
    // One that was under way to a connection when it broke was seen by no tap; of an answer that was given twice, one of them.
    const unseen = first || (this.called.get(message.item) ?? 0) > 1;
    if ((this.breaking || this.lossy) && unseen) return;
    if (bump(this.returns, keyOf(message), -1) < 0 && this.classic)
      this.wrong('nothing twice', `${name} is given ${keyOf(message)} again, which nobody handed back`);
  }

  settled(_tap: Tap, message: Given, back: boolean): void {
    this.count('settlements');
    if (!back) return;
    bump(this.returns, keyOf(message));
    this.count('handed back');
  }

  left({ name }: Tap, messages: readonly Given[], closed: boolean): void {
    if (closed && messages.length > 0 && !this.breaking)
      this.wrong('nothing twice', `${name} is closed with ${messages.length} deliveries unsettled`);
    for (const message of messages) {
      bump(this.returns, keyOf(message));
      this.crashed.add(keyOf(message));
    }
  }

  published(_tap: Tap, id: string): void {
    bump(this.reached, id);
    this.count('publishes');
  }

  confirmed(_tap: Tap, id: string): void {
    this.confirmedByBroker.add(id);
  }

  /** A broken connection may make an app publish it again. */
  mayRepeat(id: string): boolean {
    const message = id.startsWith('tick/') ? id : id.slice(0, id.lastIndexOf('/'));
    return this.doubtful.has(id) || this.crashed.has(message);
  }

  // ---- told by the world outside

  collect(text: string): void {
    const [id, chain] = text.split(' ') as [string, string];
    const known = this.collected.get(id) ?? { count: 0, chains: new Set() };
    known.count += 1;
    known.chains.add(chain);
    this.collected.set(id, known);
    if (known.count > 1 && !this.mayRepeat(id)) this.wrong('nothing twice', `output ${id} came ${known.count} times`);
  }

  call(correlation: string): void {
    const count = bump(this.called, correlation);
    if (count > 1 && !this.doubtful.has(correlation) && !this.crashed.has(correlation.replace(/^[^/]*\//, '')))
      this.wrong('nothing twice', `call ${correlation} came ${count} times`);
  }

  /** A confirm the app has believed is one the broker has given. */
  look(app: App): void {
    const { confirms } = app.outbox;
    for (let at = this.confirmsSeen.get(app) ?? 0; at < confirms.length; at++)
      if (!this.confirmedByBroker.has(confirms[at]!))
        this.wrong('nothing lost', `${app.config.name} was told that ${confirms[at]} is confirmed, by nobody`);
    this.confirmsSeen.set(app, confirms.length);
    if ((this.resetsSeen.get(app) ?? 0) < app.resets) this.doubt(app);
    this.resetsSeen.set(app, app.resets);
    const [complaint] = app.complaints();
    if (this.reports && complaint?.includes(' holds ')) return;
    if (complaint !== undefined && !this.violations.some(({ what }) => what === complaint))
      this.wrong('the app complains', complaint);
  }

  /** The app's connections are about to break. */
  breaks(app: App): void {
    this.brokenAt.push(app.memory.log.length);
    this.doubt(app);
  }

  /** What is neither known to be out nor not may come twice, or not at all if nothing confirms it. */
  private doubt({ outbox, channels, doubts }: App): void {
    for (const id of outbox.made) {
      if (this.collected.has(id)) continue;
      this.doubtful.add(id);
      if (outbox.loose.has(id)) this.perhapsLost.add(id);
    }
    for (const { unconfirmed } of channels) for (const { output } of unconfirmed.values()) this.doubtful.add(output);
    for (const id of doubts) this.doubtful.add(id);
  }
}
