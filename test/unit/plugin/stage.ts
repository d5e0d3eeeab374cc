/** Stand-ins of a few lines: an API server, a terminal, a clock wound by hand. */
import { type Api, ApiError, type Call, type WatchEvent } from '../../../plugin/api.ts';
import type { Io } from '../../../plugin/io.ts';
import type { Clock, Size, Terminal } from '../../../plugin/painter.ts';

/** Answers each call by `answer`; watches by `events`. An Error is thrown. */
export const standInApi = (
  answer: (call: Call) => unknown,
  events: (call: Call, signal: AbortSignal) => AsyncIterable<unknown> | Iterable<unknown> = () => [],
): Api & { calls: Call[] } => {
  const calls: Call[] = [];
  return {
    calls,
    async call<T>(call: Call) {
      calls.push(call);
      const answered = await answer(call);
      if (answered instanceof Error) throw answered;
      return answered as T;
    },
    async *watch<T>(call: Call, signal: AbortSignal) {
      for await (const event of events(call, signal)) yield event as WatchEvent<T>;
    },
  };
};

export const listOf = (items: readonly unknown[]) => ({ metadata: { resourceVersion: '1' }, items });

export const refusal = (call: Call, status: number, message = 'no'): ApiError =>
  new ApiError(call, status, '', message);

export interface StandIn extends Io {
  printed: string[];
  told: string[];
}

export const plainIo = (ask?: Io['ask']): StandIn => {
  const printed: string[] = [];
  const told: string[] = [];
  return {
    printed,
    told,
    out: (text) => void printed.push(text),
    err: (text) => void told.push(text),
    live: false,
    color: false,
    unicode: true,
    ask,
  };
};

export interface Wound extends Clock {
  /** Lets time pass, and all that is due in it happen in turn. */
  pass(ms: number): void;
}

export const woundClock = (start = 0): Wound => {
  let now = start;
  const timers = new Set<{ due: number; ms: number; call: () => void }>();
  return {
    now: () => now,
    every: (ms, call) => {
      const timer = { due: now + ms, ms, call };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    pass(ms) {
      for (const end = now + ms; ; ) {
        const [next] = [...timers].sort((a, b) => a.due - b.due);
        if (!next || next.due > end) {
          now = end;
          return;
        }
        now = next.due;
        next.due += next.ms;
        next.call();
      }
    },
  };
};

const ESC = '\x1b';
const TOKEN = new RegExp(`${ESC}\\[[?0-9;]*[A-Za-z]|[\\s\\S]`, 'gu');
const HARMLESS = new RegExp(`^${ESC}\\[(\\?2026[hl]|\\d*m)$`);
const UP = new RegExp(`^${ESC}\\[(\\d+)A$`);

/**
 * A terminal that keeps its screen: the escape sequences a painter may use and no other, lines broken at its width, scrolled at
 * its height. `writes`: when each write came.
 */
export class Screen implements Terminal {
  columns: number;
  rows: number;
  readonly writes: { at: number; text: string }[] = [];
  readonly #clock: Clock;
  #lines: string[] = [''];
  #row = 0;
  #column = 0;
  constructor(size: Size, clock: Clock) {
    this.columns = size.columns;
    this.rows = size.rows;
    this.#clock = clock;
  }
  size(): Size {
    return { columns: this.columns, rows: this.rows };
  }
  /** All lines ever shown, those scrolled away too. */
  get lines(): string[] {
    return this.#lines.map((line) => line.trimEnd());
  }
  /** As terminals that reflow do it. */
  resize(columns: number): void {
    this.columns = columns;
    const lines = this.#lines.flatMap((line, at) => {
      const parts = line.trimEnd().match(new RegExp(`.{1,${columns}}`, 'g')) ?? [''];
      if (at < this.#row) return parts;
      return [line];
    });
    this.#row += lines.length - this.#lines.length;
    this.#lines = lines;
  }
  write(text: string): void {
    this.writes.push({ at: this.#clock.now(), text });
    for (const [token] of text.matchAll(TOKEN)) this.#take(token);
  }
  #take(token: string): void {
    if (token === '\n') this.#newLine();
    else if (token === '\r') this.#column = 0;
    else if (token.startsWith(ESC)) this.#escape(token);
    else this.#put(token);
  }
  #newLine(): void {
    this.#row += 1;
    this.#column = 0;
    this.#lines[this.#row] ??= '';
  }
  #put(character: string): void {
    if (this.#column >= this.columns) this.#newLine();
    const line = [...this.#lines[this.#row]!.padEnd(this.#column)];
    line[this.#column] = character;
    this.#lines[this.#row] = line.join('');
    this.#column += 1;
  }
  #escape(token: string): void {
    const [, count] = UP.exec(token) ?? [];
    if (count !== undefined) {
      const top = Math.max(0, this.#lines.length - this.rows);
      this.#row = Math.max(top, this.#row - Number(count));
    } else if (token === `${ESC}[K`) {
      this.#lines[this.#row] = [...this.#lines[this.#row]!].slice(0, this.#column).join('');
    } else if (token === `${ESC}[J`) {
      this.#lines.length = this.#row + 1;
      this.#lines[this.#row] = [...this.#lines[this.#row]!].slice(0, this.#column).join('');
    } else if (!HARMLESS.test(token)) throw new Error(`unknown escape ${JSON.stringify(token)}`);
  }
}
