/** How fast a copy makes what its source has made. Pure: time comes in, milliseconds. */

/** Measured over so long. */
const OVER_MS = 1000;
/** What was measured for less is no pace: all that a copy is handed at first, up to its prefetch, it has not worked for. */
const LEAST_MS = 300;

export class Pace {
  private samples: { readonly at: number; readonly made: number }[] = [];

  /** `made`: of what counts as lag, in all. */
  note(at: number, made: number): void {
    this.samples.push({ at, made });
    while (this.samples.length > 2 && at - this.samples[1]!.at >= OVER_MS) this.samples.shift();
  }

  /** A second; 0: not known yet. */
  get rate(): number {
    const first = this.samples[0];
    const last = this.samples.at(-1);
    if (!first || !last || last.at - first.at < LEAST_MS) return 0;
    return ((last.made - first.made) * 1000) / (last.at - first.at);
  }
}
