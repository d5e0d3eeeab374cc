/** One seed, run: its pods, its network, its handoffs, and the oracle that watches. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ErrorCode } from '../../webhook/api/errors.ts';
import { App } from './app/app.ts';
import { loseBroker } from './faults.ts';
import { Handoff, type HandoffWorld } from './handoff.ts';
import { Hub } from './hub.ts';
import { Oracle } from './oracle.ts';
import type { Outside, Visit } from './outside.ts';
import { Pod } from './pod.ts';
import { Random } from './random.ts';
import { Rival } from './rival.ts';
import type { Loss, Schedule } from './schedule.ts';
import type { Network, Surroundings } from './surroundings.ts';
import type { Ticker } from './ticker.ts';
import { allOut, judge, judgePrefix } from './verdict.ts';

export interface Ground {
  /** Of the broker. */
  readonly port: number;
  readonly outside: Outside;
  readonly ticker: Ticker;
  /** For the pods' volumes. */
  readonly dir: string;
  readonly tls: HandoffWorld['tls'];
  /** No seed needs to go on. */
  readonly over?: () => boolean;
}

class Failed extends Error {}

/** Nothing takes longer, however busy the machine (a tick may take a while then), and however much the sidecar waits. */
const PATIENCE = { ms: 30_000, ticks: 8000 };
/** Nor a whole seed. */
const LONGEST = { ms: 60_000, ticks: 20_000 };

export class World implements Surroundings, HandoffWorld {
  readonly schedule: Schedule;
  readonly hub = new Hub();
  readonly oracle: Oracle;
  readonly taps: Oracle;
  readonly random: Random;
  readonly network: Network;
  readonly port: number;
  readonly tls: HandoffWorld['tls'];
  private readonly ground: Ground;
  private readonly pods: Pod[] = [];
  private line!: Pod;
  /** Those that were superseded. */
  private readonly sources: { readonly pod: Pod; readonly fork: number; readonly who: string }[] = [];
  private rival: Rival | undefined;
  private visit!: Visit;
  now = 0;
  /** Losses to come, and whether a handoff is under way, in which none comes. */
  private losses: readonly Loss[];
  private handing = false;
  /** How often the app may have been reset, as long as a loss is hidden from it. */
  private hiding: number | undefined;
  private readonly waits = new Set<() => void>();
  private readonly alarms: { readonly at: number; readonly act: () => void }[] = [];
  private readonly feeding: Random;
  private readonly fed = new Map<string, number>();
  private readonly confirmed = new Map<string, number>();
  private uids = 0;
  private readonly began = Date.now();

  constructor(schedule: Schedule, ground: Ground) {
    this.schedule = schedule;
    this.ground = ground;
    this.port = ground.port;
    this.tls = ground.tls;
    this.network = schedule.network;
    this.losses = schedule.losses;
    this.random = new Random(`${schedule.seed}/world`);
    this.feeding = new Random(`${schedule.seed}/feed`);
    this.oracle = new Oracle(!schedule.quorum);
    const { racy, acksAll } = schedule.app;
    this.oracle.reports = (racy || acksAll) && schedule.handoffs.some(({ onDivergence }) => onDivergence === 'Report');
    this.oracle.clock = () => this.now;
    this.taps = this.oracle;
  }

  wrong(invariant: string, what: string): void {
    this.oracle.wrong(invariant, what);
  }

  trace(part: string, what: string): void {
    this.oracle.trace(part, what);
  }

  count(what: string): void {
    this.oracle.count(what);
  }

  /** Its violations are the oracle's. */
  async run(): Promise<void> {
    const { schedule, ground, oracle } = this;
    const { app, rival, queues, quorum } = schedule;
    this.visit = await ground.outside.visit(
      {
        inputs: queues.map((name) => ({ name, quorum })),
        output: app.outputQueue,
        call: app.callQueue,
        reply: [app.replyQueue, ...(rival ? [rival.replyQueue] : [])],
      },
      { collected: (text) => oracle.collect(text), called: (correlation) => oracle.call(correlation) },
    );
    this.line = this.addPod(new App(app));
    if (rival) this.rival = new Rival(this, new App(rival));
    const stop = ground.ticker.add(() => {
      try {
        this.step();
        if (this.oracle.violations.length === 0 && Date.now() - this.began > LONGEST.ms && this.now > LONGEST.ticks)
          this.wrong('an end', `it goes on and on: ${this.progress()}`);
      } catch (error) {
        this.wrong('the simulator', error instanceof Error ? error.stack! : String(error));
        for (const look of [...this.waits]) look();
      }
    });
    try {
      await this.play();
    } catch (error) {
      if (!(error instanceof Failed))
        oracle.wrong('the simulator', error instanceof Error ? error.stack! : String(error));
    } finally {
      stop();
      if (oracle.violations.length > 0) this.testify();
      for (const pod of this.pods) pod.kill();
      this.rival?.kill();
      await this.visit.end().catch(() => undefined);
      rmSync(join(ground.dir, String(schedule.seed)), { recursive: true, force: true });
    }
  }

  private async play(): Promise<void> {
    const { schedule, oracle } = this;
    await this.when(() => this.apps().every((app) => app.started), 'the apps are ready');
    for (const [index, plan] of schedule.handoffs.entries()) {
      await this.when(
        () => this.hiding === undefined && (this.seen(this.line.app) >= plan.after || this.exhausted),
        `handoff ${index} is due`,
      );
      const source = this.line;
      this.handing = true;
      this.line = await new Handoff(this, plan, source, `m${schedule.seed}-${index}`).run();
      this.handing = false;
      if (this.line !== source)
        this.sources.push({ pod: source, fork: this.line.forkedAt, who: `handoff ${index} (${plan.mode})` });
    }
    await this.when(
      () => this.hiding === undefined && this.exhausted && this.apps().every((app) => app.idle && app.open),
      'all is consumed and settled',
    );
    // What the broker still has under way comes within moments, if at all.
    const late = Date.now() + 3000;
    await this.when(() => allOut(oracle, this.apps()) || Date.now() > late, 'all outputs are out');
    await this.calm();
    for (const { pod, fork, who } of this.sources)
      judgePrefix(oracle, pod.app.memory.log, this.line.app.memory.log, { fork, who });
    judge(oracle, this.apps(), this.confirmed, !schedule.quorum);
    await this.end();
  }

  /** Nothing moves any more: what a broken connection has given back comes late. */
  private async calm(): Promise<void> {
    let since = this.now;
    // One that polls is never quite silent.
    const polls = this.apps().some((app) => app.polls);
    const still = (): boolean =>
      this.hiding === undefined &&
      (polls || this.pods.every((pod) => pod.quiet)) &&
      this.apps().every((app) => app.idle && app.open);
    await this.when(() => {
      if (!still()) since = this.now;
      return this.now - since > (this.oracle.breaking || this.oracle.lossy ? 100 : 30);
    }, 'nothing moves any more');
  }

  private async end(): Promise<void> {
    for (const app of this.apps()) app.end();
    const closed = (): boolean => this.apps().every((app) => app.connections.every(({ state }) => state === 'closed'));
    await this.when(closed, 'the apps close');
    await this.when(() => this.pods.every((pod) => pod.gone || pod.sidecar.upstreams.size === 0), 'the sidecars close');
    const left = await this.visit.end();
    for (const each of left) this.wrong('nothing left behind', each);
  }

  // ---- what happens

  private apps(): App[] {
    return [this.line.app, ...(this.rival ? [this.rival.app] : [])];
  }

  /** Those of copies and superseded sources, too. */
  private running(): App[] {
    const pods = this.pods.filter(({ gone }) => !gone).map(({ app }) => app);
    return [...pods, ...(this.rival ? [this.rival.app] : [])];
  }

  private seen(app: App): number {
    return app.memory.log.length;
  }

  /** All that was fed is applied by somebody. */
  private get exhausted(): boolean {
    const { messages, queues } = this.schedule;
    for (const queue of queues) if ((this.confirmed.get(queue) ?? 0) < messages) return false;
    return this.apps().reduce((sum, app) => sum + app.memory.taken.size, 0) >= messages * queues.length;
  }

  /** For people: what stands where, and what the apps saw last. */
  private testify(): void {
    const { oracle } = this;
    for (const pod of this.pods) {
      for (const line of pod.describe()) oracle.trace('state', line);
      for (const channel of pod.app.channels)
        for (const event of channel.events) oracle.trace(`app of ${pod.options.name}, channel ${channel.name}`, event);
    }
  }

  private progress(): string {
    const fed = this.schedule.queues.map(
      (queue) => `${queue}: ${this.confirmed.get(queue) ?? 0} confirmed of ${this.fed.get(queue) ?? 0}`,
    );
    return [...fed, ...this.running().map((app) => app.describe())].join(' | ');
  }

  private step(): void {
    this.now += 1;
    this.feed();
    for (const pod of this.pods) pod.step(this.now);
    this.rival?.step();
    this.lose();
    for (const app of this.running()) this.oracle.look(app);
    for (const alarm of this.alarms.filter(({ at }) => at <= this.now)) {
      this.alarms.splice(this.alarms.indexOf(alarm), 1);
      alarm.act();
    }
    for (const look of [...this.waits]) look();
  }

  private lose(): void {
    const { line, hiding } = this;
    if (hiding !== undefined) {
      // Invariant 6: an app that need not know does not.
      if (line.app.resets > hiding) this.wrong('invisible', 'the app saw a loss that was to be hidden');
      if (line.sidecar.relay.reattached().severed === 0) this.hiding = undefined;
      return;
    }
    const [next] = this.losses;
    if (!next || this.handing || !line.app.open || this.seen(line.app) < next.after) return;
    this.losses = this.losses.slice(1);
    this.hiding = loseBroker(this, next, line, this.now);
  }

  private feed(): void {
    const { feed, messages, queues } = this.schedule;
    if (!this.feeding.chance(feed.share)) return;
    const taken = this.apps().reduce((sum, app) => sum + app.memory.taken.size, 0);
    const queue = this.feeding.pick(queues);
    for (let count = this.feeding.between(1, feed.burst); count > 0; count--) {
      const n = (this.fed.get(queue) ?? 0) + 1;
      const out = [...this.fed.values()].reduce((sum, each) => sum + each, 0);
      if (n > messages || out - taken >= feed.lead) return;
      this.fed.set(queue, n);
      this.visit.put(queue, n, this.feeding).then(
        () => this.confirmed.set(queue, (this.confirmed.get(queue) ?? 0) + 1),
        (error: unknown) => this.wrong('the simulator', `feeding: ${String(error)}`),
      );
    }
  }

  // ---- for the handoffs

  private addPod(app: App, snapshot?: ConstructorParameters<typeof Pod>[3]): Pod {
    this.uids += 1;
    const uid = `${this.schedule.seed}-${this.uids}`;
    const options = { name: `pod${this.uids}`, uid, dir: join(this.ground.dir, String(this.schedule.seed), uid) };
    const pod = new Pod(this, options, app, snapshot);
    this.pods.push(pod);
    return pod;
  }

  restore(source: Pod): Pod {
    const snapshot = source.snapshot!;
    source.snapshot = undefined;
    this.oracle.count('deliveries carried', snapshot.handoff.carried);
    return this.addPod(snapshot.app, snapshot);
  }

  /** A handoff that nothing befalls succeeds. */
  failed(mode: string, code: ErrorCode, why: string): void {
    if (code === 'SHADOW_E_ABORTED' || code === 'SHADOW_E_COPY_LOST' || this.oracle.breaking) return;
    // What an app does by time can't be replayed.
    const { racy, acksAll } = this.schedule.app;
    if (code === 'SHADOW_E_DIVERGED' && (racy || acksAll)) return;
    this.wrong('a handoff succeeds', `${mode}: ${code}: ${why}`);
  }

  reported(outputs: number): void {
    this.oracle.count('divergence reported');
    this.oracle.diverged = true;
    if (!this.schedule.app.racy && !this.schedule.app.acksAll)
      this.wrong('replay', `a copy made ${outputs} outputs otherwise`);
  }

  ticks(count: number): Promise<void> {
    const until = this.now + count;
    return this.when(() => this.now >= until, `${count} ticks`);
  }

  later(ticks: number, act: () => void): void {
    this.alarms.push({ at: this.now + ticks, act });
  }

  when(holds: () => boolean, what: string): Promise<void> {
    const [began, first] = [Date.now(), this.now];
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const late = Date.now() - began > PATIENCE.ms && this.now - first > PATIENCE.ticks;
        if (late) this.wrong('an end', `waited in vain until ${what}: ${this.progress()}`);
        if (this.oracle.violations.length > 0 || this.ground.over?.()) {
          this.waits.delete(look);
          reject(new Failed(what));
        } else if (holds()) {
          this.waits.delete(look);
          resolve();
        }
      };
      this.waits.add(look);
    });
  }
}
