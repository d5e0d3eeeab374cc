/** A block of lines at the bottom of a terminal, redrawn in place. */
import { type Line, type Look, lineText, lineWidth } from './style.ts';

/** Four frames a second; with the last one, which does not wait for its turn, five at most. */
export const REDRAW_MS = 250;

export interface Size {
  columns: number;
  rows: number;
}

export interface Terminal {
  write(text: string): void;
  /** Asked anew at each frame: it may be resized at any time. */
  size(): Size;
}

/** What a test winds by hand. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Returns what stops it. */
  every(ms: number, call: () => void): () => void;
}

export const CLOCK: Clock = {
  now: Date.now,
  every: (ms, call) => {
    const timer = setInterval(call, ms);
    return () => clearInterval(timer);
  },
};

/** DEC private mode 2026: the terminal shows a frame once it is whole. Terminals that don't know it ignore it. */
const WHOLE = ['\x1b[?2026h', '\x1b[?2026l'] as const;
const CLEAR_LINE = '\x1b[K';
const CLEAR_BELOW = '\x1b[J';
const up = (rows: number): string => (rows > 0 ? `\x1b[${rows}A` : '');

interface Drawn {
  text: string;
  /** Cells. */
  width: number;
}

/**
 * One write a frame, and of a frame only the lines that changed: nothing flickers. The cursor rests below the block. `render`
 * is asked for each frame and gives at most as many rows as it was told.
 */
export class Painter {
  readonly #terminal: Terminal;
  readonly #clock: Clock;
  readonly #look: Look;
  readonly #render: (size: Size, now: number) => readonly Line[];
  #drawn: Drawn[] = [];
  #columns = 0;
  #above: string[] = [];
  #stop: (() => void) | undefined;

  constructor(terminal: Terminal, clock: Clock, look: Look, render: (size: Size, now: number) => readonly Line[]) {
    this.#terminal = terminal;
    this.#clock = clock;
    this.#look = look;
    this.#render = render;
  }

  start(): void {
    this.#draw();
    this.#stop = this.#clock.every(REDRAW_MS, () => this.#draw());
  }

  /** Stays above the block for good, from the next frame on. */
  say(text: string): void {
    this.#above.push(text);
  }

  /** The block goes, and the terminal is another's until the next start(). */
  pause(): void {
    this.#halt();
    this.#terminal.write(`${this.#erase(this.#terminal.size().columns)}${this.#told()}`);
    this.#drawn = [];
  }

  /** The last state stays on the screen. */
  close(): void {
    if (!this.#stop) return;
    this.#halt();
    this.#draw();
  }

  #halt(): void {
    this.#stop?.();
    this.#stop = undefined;
  }

  #told(): string {
    const text = this.#above.map((line) => `${line}\n`).join('');
    this.#above = [];
    return text;
  }

  /** From where the cursor rests to the block's first line, and all from there on cleared. */
  #erase(columns: number): string {
    // A terminal that became narrower has broken the longer lines, and they take more rows than they were. (The few that cut
    // them off instead lose some lines above the block.)
    const rows = this.#drawn.reduce((sum, { width }) => sum + Math.max(1, Math.ceil(width / Math.max(1, columns))), 0);
    return `${up(rows)}\r${CLEAR_BELOW}`;
  }

  #draw(): void {
    const size = this.#terminal.size();
    // The last column is left free, for a terminal may break the line there; the last row is the cursor's.
    const room = { columns: Math.max(1, size.columns - 1), rows: Math.max(1, size.rows - 1) };
    const lines = this.#render(room, this.#clock.now()).slice(0, room.rows);
    const next = lines.map((line): Drawn => {
      const text = lineText(line, room.columns, this.#look);
      return { text, width: Math.min(lineWidth(line), room.columns) };
    });
    const anew = this.#above.length > 0 || size.columns !== this.#columns;
    const frame = anew ? this.#whole(next, size.columns) : this.#changed(next);
    this.#drawn = next;
    this.#columns = size.columns;
    if (frame) this.#terminal.write(`${WHOLE[0]}${frame}${WHOLE[1]}`);
  }

  #whole(next: readonly Drawn[], columns: number): string {
    return `${this.#erase(columns)}${this.#told()}${next.map(({ text }) => `${text}\n`).join('')}`;
  }

  #changed(next: readonly Drawn[]): string {
    const same = (at: number): boolean => this.#drawn[at]?.text === next[at]?.text;
    if (next.length === this.#drawn.length && next.every((_, at) => same(at))) return '';
    const lines = next.map(({ text }, at) => (same(at) ? '\n' : `${text}${CLEAR_LINE}\n`));
    return `${up(this.#drawn.length)}\r${lines.join('')}${next.length < this.#drawn.length ? CLEAR_BELOW : ''}`;
  }
}
