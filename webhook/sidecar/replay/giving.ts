/** The source's edge of a record: sends what is recorded to whoever asks, and holds the source back by what the copy reports. */
import type { DirectLink, LinkTls, Recorded, RecordReport, Wanted } from '../../api/control.ts';
import type { Log } from '../../log.ts';
import type { Link, LinkServer } from './link.ts';
import { Recorder } from './recorder.ts';
import type { AppLoad, ReplayRelay } from './relay-replay.ts';
import { Throttle } from './throttle.ts';

/** Looks at the clock, and tells, so often. */
const TICK_MS = 100;
const TELL_MS = 200;
/** Deliveries that wait for the throttle are handed out so often: one by one, not in bursts. */
const PACE_MS = 10;
/** What is recorded goes out together: after so long, or as soon as it is so much. */
const GATHER_MS = 2;
const GATHER_BYTES = 64 << 10;

export interface GivingOptions {
  readonly claim: string;
  readonly relay: Pick<ReplayRelay, 'handOut' | 'onChange'>;
  /** Over the control connection. */
  readonly send: (message: Recorded) => void;
  readonly connected: () => boolean;
  /** Time to report. */
  readonly tell: () => void;
  /** The record is lost. */
  readonly lost: (why: string) => void;
  readonly log: Pick<Log, 'info' | 'warn'>;
}

export class Giving {
  readonly recorder = new Recorder();
  readonly throttle = new Throttle();
  private readonly options: GivingOptions;
  private link: Link | undefined;
  private server: Promise<LinkServer> | undefined;
  private ticks: NodeJS.Timeout | undefined;
  private pacing: NodeJS.Timeout | undefined;
  /** Deliveries the app held at the cut. */
  private heldAtCut = 0;
  private pumping: NodeJS.Immediate | undefined;
  private gathering: NodeJS.Timeout | undefined;
  private ticked = 0;
  private handed: { readonly at: number; readonly count: number }[] = [];
  private told = false;

  constructor(options: GivingOptions) {
    this.options = options;
  }

  /** At the cut: what the app was like. */
  brace({ saturated, held }: AppLoad): void {
    this.heldAtCut = held;
    if (saturated === undefined) return;
    this.options.log.info({ pace: Math.round(saturated), held }, 'the app is saturated: slowed until the copy reports');
    this.throttle.brace(saturated, held);
  }

  /** After the thaw. */
  begin(): void {
    this.options.relay.onChange(() => this.gather());
    this.ticks = setInterval(() => this.tick(), TICK_MS);
    this.pace();
  }

  /** Deliveries the app holds. */
  private get held(): number {
    return this.heldAtCut + this.recorder.handed - this.recorder.settled;
  }

  /** While it throttles. */
  private pace(): void {
    if (this.throttle.tick(performance.now(), this.held)) this.options.relay.handOut();
    if (this.throttle.share < 1) this.pacing ??= setInterval(() => this.pace(), PACE_MS);
    else this.unpaced();
  }

  private unpaced(): void {
    clearInterval(this.pacing);
    this.pacing = undefined;
  }

  /** Something may have been recorded. */
  private gather(): void {
    if (this.recorder.lost !== undefined || this.recorder.stream.unsent >= GATHER_BYTES) this.stir();
    else
      this.gathering ??= setTimeout(() => {
        this.gathering = undefined;
        this.pump();
      }, GATHER_MS);
  }

  /** What waits is asked for, or nothing follows it: it goes out after all that this turn of the loop brings. */
  private stir(): void {
    this.pumping ??= setImmediate(() => {
      this.pumping = undefined;
      this.pump();
    });
  }

  private pump(): void {
    const { stream, lost } = this.recorder;
    if (lost !== undefined) {
      if (!this.told) this.options.lost(lost);
      this.told = true;
      return;
    }
    const { link } = this;
    if (link) {
      while (!link.congested) {
        const chunk = stream.next((bytes) => link.room(bytes));
        if (!chunk) return;
        link.recorded(chunk);
      }
      return;
    }
    const { claim, connected, send } = this.options;
    while (connected()) {
      const chunk = stream.next();
      if (!chunk) return;
      send({ type: 'recorded', claim, offset: chunk.offset, bytes: chunk.bytes.toString('base64') });
    }
  }

  /** Whoever asks is answered by the way he asked. */
  wanted(message: Wanted, link: Link | undefined): void {
    if (message.claim !== this.options.claim) return;
    if (link !== this.link) {
      this.options.log.info({ link: link ? 'direct' : 'relay' }, 'the record is asked for');
      this.link = link;
      this.recorder.stream.unasked();
    }
    this.recorder.stream.wanted(message.received, message.again === true);
    this.throttle.report(performance.now(), message, this.recorder, this.held);
    this.pace();
    this.options.relay.handOut();
    this.stir();
  }

  /** The control connection is open anew: what was on its way may be lost. */
  opened(): void {
    if (!this.link) this.recorder.stream.unasked();
  }

  /** The port it listens on for the direct link; the same when asked again. */
  async serve(how: LinkTls): Promise<DirectLink['port']> {
    this.server ??= import('./link.ts').then(({ serveLink }) =>
      serveLink(how, {
        wanted: (message, link) => this.wanted(message, link),
        recorded: () => undefined,
        drained: () => this.stir(),
        closed: (link) => {
          if (this.link !== link) return;
          this.link = undefined;
          this.recorder.stream.unasked();
        },
      }),
    );
    return (await this.server).port;
  }

  private tick(): void {
    const now = performance.now();
    this.handed.push({ at: now, count: this.recorder.handed });
    while (this.handed.length > 2 && now - this.handed[1]!.at >= 1000) this.handed.shift();
    this.ticked += 1;
    if (this.ticked % (TELL_MS / TICK_MS) === 0) this.options.tell();
  }

  report(): RecordReport {
    const first = this.handed[0];
    const last = this.handed.at(-1);
    const ms = first && last ? last.at - first.at : 0;
    return {
      bytes: this.recorder.stream.kept,
      entries: this.recorder.entries,
      rate: ms > 0 ? ((last!.count - first!.count) * 1000) / ms : 0,
      throttle: this.throttle.share,
    };
  }

  /** Something that can't be recorded has happened to a session. */
  lost(why: string): void {
    this.recorder.lose(why);
    this.stir();
  }

  /** The source is mute. */
  end(): void {
    this.recorder.end();
    this.stir();
  }

  stop(): void {
    clearInterval(this.ticks);
    this.unpaced();
    clearImmediate(this.pumping);
    clearTimeout(this.gathering);
    this.options.relay.onChange(undefined);
    this.link = undefined;
    this.server?.then(
      (server) => server.close(),
      () => undefined,
    );
    this.server = undefined;
  }
}
