/** Which of a session's two sockets is read: what may be read is, with backpressure. */
import type net from 'node:net';
import { Backlog } from './backlog.ts';
import type { Session } from './session.ts';
import { setReading } from './sockets.ts';

/** Beyond it the broker is read by turns only: it drops a client that takes nothing for 30 s. */
const SOFT_BYTES = 64 << 20;
/** Beyond it the broker is not read at all. */
const HARD_BYTES = 256 << 20;
/** Longest time the broker is not read, and the turn it gets then. */
const PAUSE_MS = 8000;
const TURN_MS = 2000;
/** Most it is read in a turn: enough for the broker to see its socket move. */
const TURN_BYTES = 4 << 20;

/** A copy's app that has not read so much is given no more of the record. */
const CLOGGED_BYTES = 8 << 20;

export class Reading {
  private readonly session: Session;
  private readonly app: net.Socket;
  /** Asks for `flow` with the upstream of then. */
  private readonly again: () => void;
  private readonly backlog = new Backlog();
  private paused: NodeJS.Timeout | undefined;
  private turn = false;
  private turnLimit = 0;

  constructor(session: Session, app: net.Socket, again: () => void) {
    this.session = session;
    this.app = app;
    this.again = again;
  }

  /** Something has changed: what is read may. */
  flow(upstream: net.Socket | undefined): void {
    const { session, app } = this;
    const replaying = session.phase === 'replaying';
    if (session.rehearsal) session.rehearsal.clogged = app.writableLength > CLOGGED_BYTES;
    // Once ended, it is read only to see its end.
    if (upstream || session.phase === 'severed' || (replaying && !app.writableEnded))
      setReading(app, session.wantsApp && !upstream?.writableNeedDrain);
    else setReading(app, app.writableEnded);
    if (upstream) setReading(upstream, this.mayReadUpstream());
  }

  private mayReadUpstream(): boolean {
    if (!this.session.wantsBroker) return false;
    const unread = this.app.writableLength;
    this.backlog.is(unread);
    const waiting = unread + this.session.wires.withheldBytes;
    if (waiting > HARD_BYTES || this.backlog.full) return false;
    // What arrives while muting must be handed to the app before the cut, however slow the app is.
    const pressed = (this.app.writableNeedDrain && this.session.phase !== 'muting') || waiting > SOFT_BYTES;
    if (!pressed) {
      clearTimeout(this.paused);
      this.paused = undefined;
      this.turn = false;
      return true;
    }
    this.paused ??= setTimeout(() => this.takeTurn(), PAUSE_MS);
    return this.turn && unread < this.turnLimit;
  }

  private takeTurn(): void {
    this.turn = !this.turn;
    this.turnLimit = this.app.writableLength + TURN_BYTES;
    this.paused = setTimeout(() => this.takeTurn(), this.turn ? TURN_MS : PAUSE_MS);
    this.again();
  }

  end(): void {
    clearTimeout(this.paused);
    this.backlog.is(0);
  }
}
