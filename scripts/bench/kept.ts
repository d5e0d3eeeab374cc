/** What is measured in several goes: kept in a file, so that each go takes up what the ones before have left. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { Ceiling } from './ceiling.ts';
import type { Failure, Sample } from './rows.ts';

type Failed = Failure | (Omit<Failure, 'mode'> & { readonly mode: string });

/** What all figures that are compared must have in common. */
export interface Terms {
  readonly seconds: number;
  readonly node: string;
  /** Of the sidecar's bundle. */
  readonly sidecar: string;
}

export const digestOf = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');

export class Kept {
  readonly samples: Sample[] = [];
  readonly ceilings: Ceiling[] = [];
  readonly failures: Failed[] = [];
  private readonly file: string | undefined;
  private readonly terms: Terms;
  private readonly until: number;

  /**
   * `file`: undefined: nothing is kept. `until`: on the clock of performance.now(). Throws when the file holds figures that
   * can't be compared with those to come.
   */
  constructor(file: string | undefined, terms: Terms, until = Number.POSITIVE_INFINITY) {
    this.file = file;
    this.terms = terms;
    this.until = until;
    if (file === undefined || !existsSync(file)) return;
    const { terms: theirs, samples, ceilings } = JSON.parse(readFileSync(file, 'utf8'));
    for (const name of ['seconds', 'node', 'sidecar'] as const)
      if (theirs?.[name] !== terms[name])
        throw new Error(`${file} was measured with another ${name}: ${theirs?.[name]}`);
    this.samples.push(...samples);
    this.ceilings.push(...ceilings);
  }

  /** Nothing more should be begun. */
  get over(): boolean {
    return performance.now() > this.until;
  }

  has(run: number, row: string, mode: string): boolean {
    const isIt = (of: { run: number; mode: string }): boolean => of.run === run && of.mode === mode;
    return row === CEILING
      ? this.ceilings.some(isIt)
      : this.samples.some((sample) => sample.row === row && isIt(sample));
  }

  /** After each one that was taken. A go that is cut short leaves the file whole. */
  save(): void {
    if (this.file === undefined) return;
    const { terms, samples, ceilings } = this;
    writeFileSync(`${this.file}.part`, `${JSON.stringify({ terms, samples, ceilings })}\n`);
    renameSync(`${this.file}.part`, this.file);
  }
}

/** Stands for the row, where there is none. */
export const CEILING = 'ceiling';
