/** Every result as a line of CSV (RFC 4180). Pure. */
import type { PHASES } from '../../../webhook/api/migration.ts';
import { paperSeconds } from '../paper.ts';
import type { Measured, Result } from '../results.ts';

/** Phases a migration spends time in. */
export const TIMED = ['Pending', 'Checkpointing', 'Transferring', 'Restoring', 'Replaying', 'Finalizing'] as const;
export type Timed = Extract<(typeof PHASES)[number], (typeof TIMED)[number]>;

type Value = string | number | boolean | undefined;
type All = Result & Partial<Measured> & { code?: string; message?: string };

const COLUMNS: readonly [name: string, value: (result: All) => Value][] = [
  ['app', ({ app }) => app],
  ['work_ms', ({ workMs }) => workMs],
  ['configuration', ({ config }) => config],
  ['rate', ({ rate }) => rate],
  ['run', ({ run }) => run],
  ['outcome', ({ outcome }) => outcome],
  ['total_s', ({ totalSeconds }) => totalSeconds],
  // The paper's measure is what its consumer of Python did with 10 ms of work.
  ['paper_median_s', ({ config, rate }) => paperSeconds(config, rate)],
  ...TIMED.map((phase): [string, (result: All) => Value] => [
    `${phase.toLowerCase()}_s`,
    ({ phaseSeconds }) => phaseSeconds?.[phase],
  ]),
  ['steps', ({ steps }) => steps && JSON.stringify(steps)],
  ['downtime_ms', ({ downtimeMs }) => downtimeMs],
  ['failed_probes', ({ failedProbes }) => failedProbes],
  ['probes', ({ probes }) => probes],
  ['gap_ms', ({ gapMs }) => gapMs],
  ['silence_ms', ({ silenceMs }) => silenceMs],
  ['gap_before_ms', ({ before }) => before?.gapMs],
  ['failed_probes_before', ({ before }) => before?.failedProbes],
  ['confirmed', ({ confirmed }) => confirmed],
  ['lost', ({ lost }) => lost],
  ['duplicated', ({ duplicated }) => duplicated],
  ['reordered', ({ reordered }) => reordered],
  ['outputs_lost', ({ outputsLost }) => outputsLost],
  ['outputs_duplicated', ({ outputsDuplicated }) => outputsDuplicated],
  ['state_matches', ({ stateMatches }) => stateMatches],
  ['reconnects', ({ reconnects }) => reconnects],
  ['pods', ({ pods }) => pods],
  ['bytes', ({ bytes }) => bytes],
  ['from', ({ from }) => from],
  ['to', ({ to }) => to],
  ['code', ({ code }) => code],
  ['message', ({ message }) => message],
  ['ended', ({ at }) => at],
  ['build', ({ build }) => build],
  ['machine', ({ machine }) => machine],
  ['took_s', ({ tookSeconds }) => tookSeconds],
];

const quoted = (value: Value): string => {
  const text = String(value ?? '');
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

export const csv = (results: readonly Result[]): string =>
  [COLUMNS.map(([name]) => name), ...results.map((result) => COLUMNS.map(([, value]) => quoted(value(result as All))))]
    .map((line) => `${line.join(',')}\n`)
    .join('');
