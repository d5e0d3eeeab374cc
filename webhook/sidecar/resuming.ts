/** The app's consumers after a handoff or an un-mute: they wait until the old channels are closed, but not for ever. */
import { Patience } from './patience.ts';
import type { Log } from './relay-api.ts';
import type { RelayContext } from './relay-context.ts';

export interface ResumingContext extends Pick<RelayContext, 'connections' | 'served'> {
  readonly log: Pick<Log, 'warn'>;
}

export class Resuming {
  private readonly context: ResumingContext;
  private readonly patience: Patience;

  constructor(context: ResumingContext) {
    this.context = context;
    this.patience = new Patience({
      carried: () => this.carried,
      sated: () => [...context.served()].every(({ session }) => session.muting.sated),
      giveUp: () => {
        const { carried } = this;
        context.log.warn({ carried }, 'consuming before the old channels are closed: a quorum queue may reorder');
        this.consume();
      },
    });
  }

  /** Carried deliveries the app has not settled. */
  get carried(): number {
    let sum = 0;
    for (const { session } of this.context.connections) sum += session.carried;
    return sum;
  }

  get waiting(): boolean {
    return this.patience.active;
  }

  /** If any consumer waits. */
  begin(): void {
    if ([...this.context.served()].some(({ session }) => session.waitsToConsume)) this.wait();
  }

  /** One does. */
  wait(): void {
    this.patience.begin();
  }

  /** The app has settled something. */
  stir(): void {
    this.patience.stir();
  }

  consume(): void {
    this.end();
    for (const connection of this.context.connections) connection.guard(() => connection.session.consume());
  }

  end(): void {
    this.patience.end();
  }
}
