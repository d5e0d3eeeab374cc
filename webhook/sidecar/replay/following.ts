/** The copy's edge of a record: asks the source for it, plays it, opens the upstream connections meanwhile, and reports. */
import type { DirectLink, PlayReport, Recorded, Wanted } from '../../api/control.ts';
import { asShadowError, type ErrorCode } from '../../api/errors.ts';
import type { Log } from '../../log.ts';
import { Decoder } from './entries.ts';
import type { Link } from './link.ts';
import { Pace } from './pace.ts';
import { Player, type PlayerOptions } from './player.ts';
import type { ReplayRelay } from './relay-replay.ts';
import { Received } from './stream.ts';

/** The player's clock; at every second tick the source is asked (it paces its app by that), at every tenth the controller told. */
const TICK_MS = 20;
const ASK_TICKS = 2;
const TELL_TICKS = 10;
/** The direct link has so much of a start before the record is asked for through the controller, and is given up after. */
const HEAD_START_MS = 150;
const DIRECT_MS = 1000;
/** Nothing more is taken while so much waits to be played. */
const ROOM_BYTES = 32 << 20;
/**
 * A lag worth telling at once, when it was this much before: outputs, or seconds of the copy's pace. The controller mutes the
 * source by that word (`hasCaughtUp`), and until then both do the same work.
 */
const FEW = { entries: 3, seconds: 0.1 } as const;
const MANY = { entries: 30, seconds: 0.3 } as const;
const STAGE_MS = 5000;

export interface FollowingOptions extends PlayerOptions {
  readonly claim: string;
  readonly attachMs: number;
  readonly direct: DirectLink | undefined;
  readonly relay: Pick<ReplayRelay, 'rehearsals' | 'play' | 'playOn' | 'stage' | 'staged' | 'onChange'>;
  readonly send: (message: Wanted) => void;
  readonly tell: () => void;
  /** All is played and matched, and the upstream open. */
  readonly replayed: () => void;
  readonly failed: (code: ErrorCode, why: string) => void;
  readonly log: Pick<Log, 'info' | 'warn'>;
}

export class Following {
  readonly player: Player;
  private readonly options: FollowingOptions;
  private readonly received = new Received();
  private readonly decoder = new Decoder();
  private readonly began = performance.now();
  private link: Link | undefined;
  /** The direct link is being dialled and still has its start. */
  private dialling = false;
  private ticks: NodeJS.Timeout | undefined;
  private ticked = 0;
  private readonly pace = new Pace();
  private staging = false;
  private attachFailure = '';
  private lagged = true;
  private told = false;
  private stopped = false;

  constructor(options: FollowingOptions) {
    this.options = options;
    this.player = new Player(options.relay.rehearsals(), options);
    this.player.tick(this.began);
    options.relay.play(this.player);
  }

  begin(): void {
    this.options.relay.onChange(() => this.look());
    this.ticks = setInterval(() => this.tick(), TICK_MS);
    if (this.options.direct) this.dial(this.options.direct);
    else this.ask(true);
    this.stage();
  }

  private dial(direct: DirectLink): void {
    this.dialling = true;
    const start = setTimeout(() => {
      this.dialling = false;
      this.ask(true);
    }, HEAD_START_MS);
    const events = {
      wanted: () => undefined,
      recorded: (chunk: { offset: number; bytes: Buffer }) => this.take(chunk.offset, chunk.bytes),
      drained: () => undefined,
      closed: (link: Link) => {
        if (this.link !== link || this.stopped) return;
        this.options.log.info({}, 'the direct link is gone; the record comes through the controller');
        this.link = undefined;
        this.ask(true);
      },
    };
    import('./link.ts')
      .then(({ dialLink }) => dialLink(direct, events, DIRECT_MS))
      .then(
        (link) => {
          clearTimeout(start);
          this.dialling = false;
          if (this.stopped) return link.close();
          this.link = link;
          this.ask(true);
        },
        (error: unknown) => {
          clearTimeout(start);
          this.options.log.info({ why: String(error) }, 'no direct link; the record comes through the controller');
          if (this.dialling) this.ask(true);
          this.dialling = false;
        },
      );
  }

  /** Tells the source what is here and how far it is played. */
  private ask(again: boolean): void {
    if (this.dialling && !this.link) return;
    const { lag, made } = this.player;
    const wanted: Wanted = {
      type: 'wanted',
      claim: this.options.claim,
      received: this.received.offset,
      ...(again ? { again } : {}),
      lag,
      played: made,
    };
    if (this.link) this.link.wanted(wanted);
    else this.options.send(wanted);
  }

  recorded({ claim, offset, bytes }: Recorded): void {
    if (claim === this.options.claim) this.take(offset, Buffer.from(bytes, 'base64'));
  }

  private take(offset: number, bytes: Buffer): void {
    if (this.stopped || this.player.failure) return;
    if (!this.hasRoom) {
      this.received.gap = true;
      return;
    }
    const fresh = this.received.take({ offset, bytes });
    if (!fresh) return;
    try {
      this.player.feed(this.decoder.push(fresh));
    } catch (error) {
      this.player.unplayable(asShadowError(error).message);
    }
    this.options.relay.playOn();
    this.look();
  }

  private get hasRoom(): boolean {
    return this.player.heldBytes < ROOM_BYTES;
  }

  /** The control connection is open anew. */
  opened(): void {
    if (!this.link) this.ask(true);
  }

  private tick(): void {
    const now = performance.now();
    this.player.tick(now);
    this.options.relay.playOn();
    this.look();
    this.ticked += 1;
    if (this.ticked % ASK_TICKS !== 0) return;
    this.ask(this.received.gap && this.hasRoom);
    this.stage();
    this.pace.note(now, this.player.made);
    if (this.ticked % TELL_TICKS === 0) this.options.tell();
  }

  /** Something was played, or opened. */
  private look(): void {
    const { player, options } = this;
    if (this.told) return;
    if (player.failure) {
      this.told = true;
      options.failed(player.failure.code, player.failure.why);
    } else if (player.done && options.relay.staged()) options.replayed();
    else if (player.lag > this.atLeast(MANY)) this.lagged = true;
    else if (this.lagged && player.lag <= this.atLeast(FEW) && player.received > 0 && options.relay.staged()) {
      this.lagged = false;
      options.tell();
    }
  }

  private atLeast({ entries, seconds }: { readonly entries: number; readonly seconds: number }): number {
    return Math.max(entries, seconds * this.pace.rate);
  }

  private stage(): void {
    const { relay, attachMs, log } = this.options;
    if (this.staging || this.stopped || relay.staged()) return;
    this.staging = true;
    relay
      .stage(STAGE_MS)
      .catch((error: unknown) => {
        this.attachFailure = asShadowError(error).message;
        log.warn({ why: this.attachFailure }, 'an upstream connection could not be opened yet');
      })
      .finally(() => {
        this.staging = false;
        if (this.stopped) return;
        if (!relay.staged() && performance.now() - this.began > attachMs && !this.told) {
          this.told = true;
          this.options.failed('SHADOW_E_ATTACH', this.attachFailure);
        }
        this.look();
      });
  }

  report(): PlayReport {
    const { player } = this;
    return {
      link: this.link ? 'direct' : 'relay',
      received: player.received,
      played: player.played,
      lag: player.lag,
      matched: player.matched,
      waiting: player.waiting,
      rate: this.pace.rate,
      diverged: player.diverged,
      ...(player.divergence === undefined ? {} : { divergence: player.divergence }),
      attached: this.options.relay.staged(),
      ended: player.ended,
    };
  }

  stop(): void {
    this.stopped = true;
    clearInterval(this.ticks);
    this.options.relay.onChange(undefined);
    this.link?.close();
    this.link = undefined;
  }
}
