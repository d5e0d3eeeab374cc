/**
 * How long an app's consumers wait until the channels they were carried from are closed (invariant 3). Deliveries of a
 * quorum queue that are still checked out to a cancelled consumer are back at the queue's head only then. Who consumes
 * earlier gets later ones first.
 */

/** An app that settles in batches waits for more before it settles: then order on quorum queues must give way. */
const BATCH_MS = 300;
/** Nothing is carried any more: the closing is under way. */
const CLOSING_MS = 2000;

export interface Waiting {
  /** Deliveries the app has to settle first. */
  carried(): number;
  /** Whether every consumer holds all that its prefetch allows: consuming would bring it nothing. */
  sated(): boolean;
  /** Time is over. */
  giveUp(): void;
}

export class Patience {
  private timer: NodeJS.Timeout | undefined;
  private readonly waiting: Waiting;
  constructor(waiting: Waiting) {
    this.waiting = waiting;
  }

  get active(): boolean {
    return this.timer !== undefined;
  }

  begin(): void {
    this.end();
    const moot = this.waiting.carried() > 0 && this.waiting.sated();
    const ms = this.waiting.carried() > 0 && !moot ? BATCH_MS : CLOSING_MS;
    this.timer = setTimeout(() => {
      if (this.waiting.carried() > 0 && this.waiting.sated()) this.begin();
      else {
        this.end();
        this.waiting.giveUp();
      }
    }, ms);
  }

  /** The app has settled something. */
  stir(): void {
    if (this.active) this.begin();
  }

  end(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}
