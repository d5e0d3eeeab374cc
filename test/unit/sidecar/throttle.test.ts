/** A source's app, its copy and the throttle between them, millisecond by millisecond: how soon they meet, and what users see. */
import { describe, expect, it } from 'vitest';
import { LOOK_MS, Load } from '../../../webhook/sidecar/replay/load.ts';
import { Throttle } from '../../../webhook/sidecar/replay/throttle.ts';

/** Recorded per message: handed over, published, settled. */
const EACH = 3;
const REPORT_MS = 40;
const PACE_MS = 10;

interface Course {
  /** Time the app spends on a message, and its copy. */
  readonly work: number;
  readonly copyWork?: number;
  /** It works on so many at once. */
  readonly wide?: number;
  readonly prefetch: number;
  /** Messages a second; the queue holds more than enough if not given. */
  readonly arrivals?: number;
  /** They come all at once, once a second. */
  readonly bursts?: boolean;
  /** Milliseconds from such a burst to the cut; 0 if not given. */
  readonly phase?: number;
  /** From the cut until the copy begins. */
  readonly restoreMs: number;
  /** After the cut. */
  readonly ms: number;
  /** The copy plays nothing from then on. */
  readonly stuckAt?: number;
}

/** Works on `wide` at a time; `take` gives it one more, if there is one. */
class App {
  done = 0;
  private left: number[] = [];
  step(work: number, wide: number, take: () => boolean): void {
    this.left = this.left.map((left) => left - 1).filter((left) => left > 0 || this.finish());
    while (this.left.length < wide && take()) this.left.push(work);
  }
  private finish(): false {
    this.done += 1;
    return false;
  }
}

/** One second before the cut, then the rest. */
class Bench {
  readonly throttle = new Throttle();
  readonly ends: number[] = [];
  readonly shares: number[] = [];
  metMs = Number.POSITIVE_INFINITY;
  private readonly course: Course;
  private readonly load = new Load();
  private readonly source = new App();
  private readonly copy = new App();
  private arrived = 0;
  /** At the sidecar, at the app, begun by it and by the copy. */
  private pushed = 0;
  private handed = 0;
  private begun = 0;
  private copied = 0;
  private made = 0;
  private atCut = { handed: 0, done: 0 };

  constructor(course: Course) {
    this.course = course;
  }

  private get held(): number {
    return this.handed - this.source.done;
  }

  step(now: number): void {
    if (now === 0) this.cut();
    this.serve(now);
    if (now < 0) this.look(now);
    else {
      if (now % PACE_MS === 0) this.throttle.tick(now, this.held);
      this.shares.push(this.throttle.share);
      if (now >= this.course.restoreMs) this.play(now);
    }
  }

  private look(now: number): void {
    const held = this.pushed - this.source.done;
    const full = held >= Math.ceil(0.8 * this.course.prefetch);
    if (now % LOOK_MS === 0) this.load.look({ at: now, held, full, delivered: this.pushed });
  }

  /** Both have the same in hand. */
  private cut(): void {
    const { done } = this.source;
    this.atCut = { handed: this.handed, done };
    this.copied = done;
    this.copy.done = done;
    const pace = this.load.saturated(0);
    if (pace !== undefined) this.throttle.brace(pace, this.held);
  }

  private serve(now: number): void {
    const { source, course } = this;
    const { arrivals = Number.POSITIVE_INFINITY, bursts = false, phase = 0 } = course;
    if (!bursts) this.arrived += arrivals / 1000;
    else if ((now + phase) % 1000 === 0) this.arrived += arrivals;
    while (this.pushed - source.done < course.prefetch && this.pushed + 1 <= this.arrived) this.pushed += 1;
    while (this.handed < this.pushed && this.throttle.valve.take()) this.handed += 1;
    const before = source.done;
    source.step(course.work, course.wide ?? 1, () => this.begun < this.handed && this.begun++ >= 0);
    for (let n = before; n < source.done; n++) this.ends.push(now);
  }

  private play(now: number): void {
    const { copy, source, course, atCut } = this;
    const work = course.copyWork ?? course.work;
    const wide = course.wide ?? 1;
    const { stuckAt = Number.POSITIVE_INFINITY } = course;
    if (now < stuckAt) copy.step(work, wide, () => this.copied < this.handed && this.copied++ >= 0);
    // What it is handed it is handed at once, as its source was.
    const handed = this.handed - atCut.handed;
    const owed = (source.done - atCut.done) * (EACH - 1) + handed;
    if (now <= stuckAt) this.made = (Math.min(copy.done, source.done) - atCut.done) * (EACH - 1) + handed;
    const { made } = this;
    const lag = Math.max(0, owed - made);
    if (lag <= (100 * EACH * wide) / work) this.metMs = Math.min(this.metMs, now - course.restoreMs);
    if ((now - course.restoreMs) % REPORT_MS !== 0) return;
    // At first nothing has arrived.
    const said = now === course.restoreMs ? { lag: 0, played: 0 } : { lag, played: made };
    this.throttle.report(now, said, { owed, deliveries: this.pushed - atCut.handed }, this.held);
  }
}

const run = (course: Course) => {
  const bench = new Bench(course);
  for (let now = -1000; now < course.ms; now++) bench.step(now);
  const { ends, shares, throttle, metMs } = bench;
  const gap = Math.max(...ends.slice(1).map((end, index) => end - ends[index]!));
  return { metMs, gap, shares, braced: shares[0]! < 1, throttle };
};

describe('a saturated app', () => {
  const BUSY = { work: 11, prefetch: 50, ms: 6000 } as const;

  it('and its copy meet soon, and its messages are never far apart', () => {
    const far = run({ ...BUSY, restoreMs: 1200 });
    const near = run({ ...BUSY, restoreMs: 850 });
    expect(far.braced && near.braced).toBe(true);
    expect(far.metMs).toBeLessThanOrEqual(800);
    expect(near.metMs).toBeLessThanOrEqual(650);
    expect(Math.max(far.gap, near.gap)).toBeLessThanOrEqual(150);
  });

  it('is slowed until its copy reports, to messages three of its own times apart at most', () => {
    const { gap, shares } = run({ ...BUSY, restoreMs: 6000, ms: 3900 });
    expect(gap).toBeLessThanOrEqual(36);
    expect(Math.max(...shares)).toBeLessThan(0.5);
  });

  it('that turns out to be faster gets its next message as soon as it holds none', () => {
    const throttle = new Throttle();
    throttle.brace(90, 50);
    throttle.tick(0, 50);
    throttle.tick(10, 0);
    expect(throttle.valve.take()).toBe(false);
    throttle.tick(50, 0);
    expect(throttle.valve.take()).toBe(true);
  });

  it('does not wait for a copy that never comes', () => {
    const { throttle, shares } = run({ ...BUSY, restoreMs: 9000, ms: 4100 });
    expect(shares.filter((share) => share < 1).length).toBeLessThanOrEqual(4010);
    expect(throttle.valve.credit).toBe(Number.POSITIVE_INFINITY);
  });

  it('is one that barely keeps up with what comes in bursts; one that is done with them is none', () => {
    const bursts = (arrivals: number) => run({ ...BUSY, work: 10, arrivals, bursts: true, restoreMs: 1000 });
    expect(bursts(100).braced).toBe(true);
    expect(bursts(100).metMs).toBeLessThanOrEqual(600);
    expect(bursts(80).braced).toBe(false);
  });

  it('that works on several at once is none before it holds all it may', () => {
    expect(run({ ...BUSY, work: 200, wide: 10, prefetch: 10, restoreMs: 1000 }).braced).toBe(true);
    // Something is always outstanding, and the queue is empty.
    expect(run({ ...BUSY, work: 200, wide: 10, prefetch: 20, arrivals: 45, restoreMs: 1000 }).braced).toBe(false);
  });

  it('may be slow: the time between two messages grows by an eighth of a second at most', () => {
    const { gap, braced } = run({ work: 170, prefetch: 4, restoreMs: 1500, ms: 6000 });
    expect(braced).toBe(true);
    expect(gap).toBeLessThanOrEqual(170 + 150);
  });

  it('with a prefetch of 1 is one that gets its next message as soon as it can', () => {
    expect(run({ ...BUSY, prefetch: 1, restoreMs: 1000 }).braced).toBe(true);
    for (const arrivals of [5, 30, 50])
      expect(run({ ...BUSY, prefetch: 1, arrivals, restoreMs: 1000 }).braced).toBe(false);
  });
});

describe('an app that is not saturated', () => {
  it('is not slowed before its copy is here', () => {
    for (const arrivals of [5, 30, 60, 80]) {
      const { braced, shares } = run({ work: 11, prefetch: 50, arrivals, restoreMs: 1500, ms: 1500 });
      expect(braced).toBe(false);
      expect(Math.min(...shares)).toBe(1);
    }
  });

  it('and its copy meet soon all the same, whenever between two bursts the cut is made', () => {
    for (let phase = 0; phase < 1000; phase += 50)
      for (const copyWork of [11, 12]) {
        const { metMs } = run({
          ...{ work: 11, copyWork, prefetch: 50, arrivals: 80, bursts: true, phase },
          restoreMs: 1200,
          ms: 4000,
        });
        expect(metMs, `phase ${phase}, ${copyWork} ms`).toBeLessThanOrEqual(2000);
      }
  });

  it('is not slowed at all when the copy keeps up', () => {
    const { shares } = run({ work: 5, prefetch: 50, arrivals: 20, restoreMs: 0, ms: 3000 });
    expect(Math.min(...shares)).toBe(1);
  });
});

describe('the throttle', () => {
  it('keeps a source to a slower copy', () => {
    const { gap, shares } = run({ work: 10, copyWork: 20, prefetch: 50, restoreMs: 500, ms: 12_000 });
    const late = shares.slice(-2000);
    expect(Math.min(...late)).toBeLessThan(1);
    expect(gap).toBeLessThanOrEqual(170);
  });

  it('lets go of a source whose copy plays nothing any more: it may have diverged', () => {
    const { shares } = run({ work: 11, prefetch: 50, restoreMs: 1500, ms: 2400, stuckAt: 1700 });
    expect(shares[1900]).toBeLessThan(1);
    expect(shares[2150]).toBe(1);
  });

  it('lets go of a source whose copy is behind by the clock: it does not come nearer, however slow the source is', () => {
    const throttle = new Throttle();
    const shares: number[] = [];
    for (let now = 0; now < 6000; now += REPORT_MS) {
      // Fifty things a second, whatever is handed out, and three tenths of a second late.
      throttle.report(now, { lag: 15, played: now / 20 }, { owed: 1000, deliveries: 300 }, 5);
      shares.push(throttle.share);
    }
    expect(Math.min(...shares)).toBeLessThan(1);
    expect(shares.slice(Math.ceil(1500 / REPORT_MS))).toEqual(shares.slice(Math.ceil(1500 / REPORT_MS)).map(() => 1));
    // Really behind, it is helped again.
    throttle.report(6000, { lag: 60, played: 300 }, { owed: 1000, deliveries: 300 }, 5);
    expect(throttle.share).toBeLessThan(1);
  });

  it('does not let go of a source whose app lives on what it was handed before', () => {
    const throttle = new Throttle();
    const shares: number[] = [];
    for (let now = 0; now <= 1900; now += REPORT_MS) {
      // Work of half a second was handed to it ahead; a while after that the copy comes nearer.
      const lag = 300 - Math.max(0, (now - 850) / 4);
      throttle.report(now, { lag, played: (now * 285) / 1000 }, { owed: 900, deliveries: 300 }, 50);
      throttle.tick(now, 50);
      shares.push(throttle.share);
    }
    expect(shares.findIndex((share) => share < 1) * REPORT_MS).toBeLessThan(100);
    expect(Math.max(...shares.slice(3))).toBeLessThan(1);
  });

  it('lets go of a source whose copy says nothing any more', () => {
    const throttle = new Throttle();
    for (let now = 0; now <= 400; now += 40)
      throttle.report(now, { lag: 400, played: now }, { owed: 800, deliveries: 200 }, 3);
    expect(throttle.share).toBeLessThan(1);
    for (const now of [410, 990]) throttle.tick(now, 3);
    expect(throttle.share).toBeLessThan(1);
    expect(throttle.tick(1010, 3)).toBe(true);
    expect(throttle.share).toBe(1);
  });
});
