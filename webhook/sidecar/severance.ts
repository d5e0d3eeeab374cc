/**
 * The loss of a session's upstream on an ordinary day: how the broker took leave, what the app says until there is another
 * upstream, and what it is told when there will be none. Pure.
 */
import type { Piece } from './frames.ts';
import { encode } from './methods.ts';
import { Severed } from './severed.ts';
import type { Wires } from './wires.ts';

/** Where no other upstream can be had: what a broker said to us instead. */
export interface Refusal {
  readonly code: number;
  readonly text: string;
}

export class Severance {
  /** The app has closed the connection while it was severed: it has its answer, or must know that there was nobody to give it. */
  left: 'answered' | 'unheard' | undefined;
  /** connection.close, as the broker said it before the upstream was lost; the app has not heard it. */
  parting: Piece | undefined;
  /** Since its session was asked last. */
  justForced = false;
  justSevered = false;
  private readonly wires: Wires;
  private severed: Severed | undefined;

  constructor(wires: Wires) {
    this.wires = wires;
  }

  /** More of the app may wait. */
  get roomy(): boolean {
    return this.severed?.full === false;
  }

  /** The broker takes leave, and has our answer; what becomes of it is decided when the upstream is lost, or given up. */
  part(piece: Piece): void {
    this.parting = piece.kept();
    this.wires.toBroker.inject(encode.connectionCloseOk());
    this.justForced = true;
  }

  begin(): void {
    this.severed = new Severed(this.wires);
    this.justSevered = true;
  }

  /** Something the app says meanwhile. True: it has closed the connection, and the severance is over. */
  hold(piece: Piece): boolean {
    const { severed } = this;
    if (!severed?.hold(piece)) return false;
    this.left = severed.unproven ? 'unheard' : 'answered';
    this.end('app');
    // To one without confirms close-ok would say that all has arrived.
    if (this.left === 'answered') this.wires.toApp.inject(encode.connectionCloseOk());
    return true;
  }

  /** The wires lead to another upstream. Returns what the app has said meanwhile. */
  restore(): Piece[] {
    const { severed } = this;
    this.severed = undefined;
    this.parting = undefined;
    return severed?.restore() ?? [];
  }

  /** The app learns of the loss in the broker's words, if it has said any. False: it has not. */
  giveUp(refusal: Refusal | undefined): boolean {
    const last = refusal ? encode.connectionClosed(refusal.code, refusal.text) : this.parting?.bytes;
    this.end('broker');
    if (last) this.wires.toApp.inject(last);
    return last !== undefined;
  }

  private end(by: 'app' | 'broker'): void {
    this.severed = undefined;
    this.wires.closing = by;
    this.wires.giveBackAll();
  }
}
