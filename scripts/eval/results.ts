/** What a run has shown, and the file that keeps it: one JSON line a run, appended whole. */
import { closeSync, existsSync, fsyncSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Configuration } from './configurations.ts';

export const APPS = ['node', 'python'] as const;
export type App = (typeof APPS)[number];

/** Which run it is. */
export interface RunKey {
  readonly app: App;
  /** Work on a message, ms. */
  readonly workMs: number;
  readonly config: Configuration;
  /** Messages a second. */
  readonly rate: number;
  /** From 1. */
  readonly run: number;
}

/** Before the migration: what the load alone does. */
export interface Quiet {
  readonly failedProbes: number;
  readonly gapMs: number;
}

export interface Measured {
  /** Nodes. */
  readonly from: string;
  readonly to: string;
  /** What the controller took. */
  readonly strategy: string;
  /** From startTime to completionTime of the status, as the paper counts. */
  readonly totalSeconds: number;
  readonly phaseSeconds: Readonly<Record<string, number>>;
  /** Of each handoff: when each of its steps was entered, seconds from startTime. Finalizing has all of the second one. */
  readonly steps: readonly Readonly<Record<string, number>>[];
  readonly probes: number;
  readonly failedProbes: number;
  /** The first of them: seconds from startTime, and why. */
  readonly failures: readonly { readonly at: number; readonly why: string }[];
  /** The longest streak of failed probes. */
  readonly downtimeMs: number;
  /** The longest time in which a message waited and none was done. */
  readonly gapMs: number;
  /** The longest time between two outputs, work or none. */
  readonly silenceMs: number;
  readonly before: Quiet;
  readonly confirmed: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly reordered: number;
  readonly outputsLost: number;
  readonly outputsDuplicated: number;
  /** Count and hash of the app's memory follow from what it says it applied, and every output from that. */
  readonly stateMatches: boolean;
  /** Connections of the app beyond the first. */
  readonly reconnects: number;
  /** Pods of the app that are left: 1. */
  readonly pods: number;
  /** Of the checkpoints, as they went from node to node. */
  readonly bytes: number;
}

interface Stamp {
  /** When it had ended, ISO 8601. */
  readonly at: string;
  /** Digest of the programs measured. */
  readonly build: string;
  readonly machine: string;
  /** The whole run, settling included: what the remaining time is reckoned by. */
  readonly tookSeconds: number;
}

interface Refusal {
  readonly code: string;
  readonly message: string;
}

/** `failed`: the migration did not complete. `unsupported`: it was refused before anything was touched. */
export type Outcome =
  | ({ readonly outcome: 'measured' } & Measured)
  | ({ readonly outcome: 'failed' } & Refusal & Partial<Measured>)
  | ({ readonly outcome: 'unsupported' } & Refusal);

export type Result = RunKey & Stamp & Outcome;
export type MeasuredResult = Extract<Result, { outcome: 'measured' }>;

export const isMeasured = (result: Result): result is MeasuredResult => result.outcome === 'measured';

/**
 * The lines of a file; a last one that is torn (its run was killed while it was written) counts for nothing. `whole`: bytes
 * that are sound. Throws where another line is broken.
 */
export const parseResults = (text: string, name: string): { results: Result[]; whole: number } => {
  const end = text.lastIndexOf('\n') + 1;
  const results = text
    .slice(0, end)
    .split('\n')
    .slice(0, -1)
    .map((line, index): Result => {
      try {
        return JSON.parse(line);
      } catch (error) {
        throw new Error(`${name}, line ${index + 1} is no result`, { cause: error });
      }
    });
  return { results, whole: Buffer.byteLength(text.slice(0, end)) };
};

export class Results {
  readonly all: Result[];
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
    const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
    const { results, whole } = parseResults(text, file);
    this.all = results;
    if (whole === Buffer.byteLength(text)) return;
    const handle = openSync(file, 'r+');
    ftruncateSync(handle, whole);
    closeSync(handle);
  }

  /** On the disk when it returns. */
  append(result: Result): void {
    mkdirSync(dirname(this.#file), { recursive: true });
    const handle = openSync(this.#file, 'a');
    try {
      writeSync(handle, `${JSON.stringify(result)}\n`);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
    this.all.push(result);
  }
}
