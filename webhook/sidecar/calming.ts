/** The broker is quiet when it has sent nothing for so long; chunks that may put that off. */
const QUIET_MS = 40;
const QUIET_RESTARTS = 8;

/** Says once that the broker has been quiet for a while, or that it never is. */
export class Calming {
  private timer: NodeJS.Timeout | undefined;
  private restarts = 0;
  private readonly tell: () => void;
  constructor(tell: () => void) {
    this.tell = tell;
  }
  wanted(wanted: boolean): void {
    if (wanted) {
      this.timer ??= setTimeout(() => {
        this.timer = undefined;
        this.tell();
      }, QUIET_MS);
      return;
    }
    clearTimeout(this.timer);
    this.timer = undefined;
    this.restarts = 0;
  }
  restart(): void {
    if (!this.timer || this.restarts >= QUIET_RESTARTS) return;
    this.restarts += 1;
    this.timer.refresh();
  }
}
