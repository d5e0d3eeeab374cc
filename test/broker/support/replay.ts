/** A whole replay handoff, as commands.ts and a controller do it, over a link with latency. */
import type { PlayReport, Recorded, RecordReport, Settlement, Wanted } from '../../../webhook/api/control.ts';
import { Following } from '../../../webhook/sidecar/replay/following.ts';
import { Giving } from '../../../webhook/sidecar/replay/giving.ts';
import { log, sleep, until } from './harness.ts';
import type { Pace, Pod } from './pod.ts';

export interface ReplayOptions {
  readonly pace: Pace;
  readonly onDivergence?: 'Abort' | 'Report';
  readonly stallMs?: number;
  /** Of the link, each way. */
  readonly latencyMs?: number;
  /** From the cut until the copy runs. */
  readonly restoreMs?: number;
  /** Between the cut and the mute, at least. */
  readonly besideMs?: number;
  /** Done to the copy before its apps run. */
  readonly before?: (copy: Pod) => void;
  /** The copy is to be so near before the source is muted. */
  readonly near?: number;
}

export class Replay {
  readonly source: Pod;
  readonly copy: Pod;
  readonly giving: Giving;
  readonly following: Following;
  readonly losses: string[] = [];
  failed: { code: string; why: string } | undefined;
  replayed = false;
  private readonly latencyMs: number;
  private settling = Promise.resolve();
  private live = false;
  private closed: Promise<void> | undefined;

  private constructor(source: Pod, copy: Pod, giving: Giving, options: ReplayOptions, wire: Wire) {
    this.source = source;
    this.copy = copy;
    this.giving = giving;
    this.latencyMs = options.latencyMs ?? 1;
    this.following = new Following({
      claim: CLAIM,
      onDivergence: options.onDivergence ?? 'Abort',
      stallMs: options.stallMs ?? 5000,
      attachMs: 10_000,
      direct: undefined,
      relay: copy.relay.replay,
      send: (message) => wire.later(() => giving.wanted(message, undefined)),
      tell: () => undefined,
      replayed: () => {
        this.replayed = true;
      },
      failed: (code, why) => {
        this.failed ??= { code, why };
      },
      log,
    });
    wire.recorded = (message) => this.following.recorded(message);
    source.relay.onLost((why) => {
      giving.lost(why);
      this.losses.push(why);
    });
    copy.relay.onLost((why) => this.losses.push(why));
  }

  static async begin(source: Pod, options: ReplayOptions): Promise<Replay> {
    const wire = new Wire(options.latencyMs ?? 1);
    const giving = new Giving({
      claim: CLAIM,
      relay: source.relay.replay,
      send: (message) => wire.later(() => wire.recorded(message)),
      connected: () => true,
      tell: () => undefined,
      lost: () => undefined,
      log,
    });
    await source.relay.replay.halt(2000);
    const copy = await source.fork();
    giving.brace(source.relay.replay.load());
    source.relay.replay.record(giving.recorder, giving.throttle.valve);
    source.relay.replay.goOn();
    giving.begin();
    await sleep(options.restoreMs ?? 50);
    options.before?.(copy);
    const replay = new Replay(source, copy, giving, options, wire);
    for (const edge of copy.edges) edge.start(options.pace);
    replay.following.begin();
    return replay;
  }

  play(): PlayReport {
    return this.following.report();
  }
  record(): RecordReport {
    return this.giving.report();
  }

  /** Until the copy is near; false: it failed. */
  async near(lag: number, timeoutMs = 20_000): Promise<boolean> {
    const is = (): boolean => this.play().lag <= lag && this.play().attached && this.play().received > 0;
    await until(() => this.failed !== undefined || is(), timeoutMs, `a lag of ${lag} (${JSON.stringify(this.play())})`);
    return this.failed === undefined;
  }

  async mute(): Promise<void> {
    await this.source.relay.mute(5000);
    this.giving.end();
  }

  /** Muted, played to the end, committed. */
  async commit(): Promise<void> {
    await this.mute();
    await until(() => this.replayed || this.failed !== undefined, 20_000, `END (${JSON.stringify(this.play())})`);
    if (this.failed) throw new Error(`${this.failed.code}: ${this.failed.why}`);
    this.copy.relay.onSettlements((items) => this.settle(items));
    await this.copy.relay.live(5000);
    this.following.stop();
    this.giving.stop();
    this.source.relay.supersede();
    for (const edge of this.source.edges) edge.stop();
    this.live = true;
    this.closeIfSettled();
  }

  private settle(items: Settlement[]): void {
    this.settling = this.settling.then(async () => {
      await sleep(this.latencyMs);
      await this.source.relay.settle(items);
      // Said twice, done once.
      await this.source.relay.settle(items);
      this.closeIfSettled();
    });
  }

  private closeIfSettled(): void {
    if (!this.live || this.source.relay.outstanding() > 0) return;
    this.closed ??= this.source.relay
      .close()
      .then(() => sleep(this.latencyMs))
      .then(() => this.copy.relay.consume());
  }

  /** Until the source is of no use any more. */
  async finish(): Promise<void> {
    const over = (): boolean =>
      this.closed !== undefined && this.copy.relay.carriedOutstanding() === 0 && this.copy.relay.consuming();
    await until(over, 20_000, `settled: ${this.copy.relay.carriedOutstanding()}, ${this.source.relay.outstanding()}`);
    await this.settling;
    await this.closed;
    await this.source.stop();
  }

  async abort(): Promise<void> {
    this.following.stop();
    this.giving.stop();
    await this.source.relay.unmute();
    await this.copy.stop();
  }
}

const CLAIM = 'm-0';

/** Messages keep their order. */
class Wire {
  recorded: (message: Recorded) => void = () => undefined;
  private readonly ms: number;
  constructor(ms: number) {
    this.ms = ms;
  }
  later(act: () => void): void {
    setTimeout(act, this.ms);
  }
}

/** A handoff that goes well; the copy is the pod from then on. */
export const handOver = async (source: Pod, options: ReplayOptions): Promise<{ pod: Pod; replay: Replay }> => {
  const replay = await Replay.begin(source, options);
  await sleep(options.besideMs ?? 100);
  if (!(await replay.near(options.near ?? 8))) throw new Error(`${replay.failed?.code}: ${replay.failed?.why}`);
  await replay.commit();
  await replay.finish();
  return { pod: replay.copy, replay };
};

export type { Wanted };
