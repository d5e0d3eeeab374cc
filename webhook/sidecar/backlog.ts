/** What apps have not read yet, of all connections of this process together: its memory is one (a sidecar has 256 MiB). */

/** Beyond it no broker is read whose app has much to read. That broker ends the connection after a while, as it would without us. */
const MOST_BYTES = 64 << 20;
/** A connection that holds less may always go on. */
const FREE_BYTES = 1 << 20;

let total = 0;

/** One connection's part of it. */
export class Backlog {
  private bytes = 0;

  is(bytes: number): void {
    total += bytes - this.bytes;
    this.bytes = bytes;
  }

  /** It may not grow. */
  get full(): boolean {
    return total > MOST_BYTES && this.bytes > FREE_BYTES;
  }
}
