/** The demonstration's result, as JSON and as a table a person reads. */
import Table from 'cli-table3';
import { PHASES } from '../../webhook/api/migration.ts';
import type { Verdict } from './oracle.ts';

/** Of one migration. The counts are of the whole run: a message is lost or repeated once and for all. */
export interface MigrationProof extends Verdict {
  pod: string;
  from: string;
  to: string;
  strategy: string;
  rate: number;
  /** From the controller's first look to its last write, as the paper counts; the plugin's start-up comes on top. */
  totalSeconds: number;
  /** Between two consecutive first outputs of the migrated pod, around this migration. */
  longestGapMs: number;
  failedProbes: number;
  /** Restarts of the app, or other processes in its stead: 0 means every app is on the connection it opened first. */
  reconnects: number;
  phaseSeconds: Record<string, number>;
  /** Why this migration did not do what was asked, if so. */
  error?: string;
}

export interface Proof {
  ok: boolean;
  migrations: MigrationProof[];
}

const CLAIMS: readonly [label: string, value: (proof: MigrationProof) => number | boolean, good: number | boolean][] = [
  ['messages lost', ({ lost }) => lost, 0],
  ['messages applied twice', ({ duplicated }) => duplicated, 0],
  ['messages out of order', ({ reordered }) => reordered, 0],
  ['outputs lost', ({ outputsLost }) => outputsLost, 0],
  ['outputs sent twice', ({ outputsDuplicated }) => outputsDuplicated, 0],
  ['state is what the messages make it', ({ stateMatches }) => stateMatches, true],
  ['app restarts and reconnects', ({ reconnects }) => reconnects, 0],
];

const isGood = (proof: MigrationProof): boolean =>
  proof.error === undefined && proof.confirmed > 0 && CLAIMS.every(([, value, good]) => value(proof) === good);

export const proofOf = (migrations: MigrationProof[]): Proof => ({
  ok: migrations.length > 0 && migrations.every(isGood),
  migrations,
});

const phases = (proof: MigrationProof): string =>
  PHASES.flatMap((phase) => {
    const seconds = proof.phaseSeconds[phase];
    return seconds === undefined ? [] : [`${phase} ${seconds.toFixed(2)}`];
  }).join('\n');

export const table = (proof: Proof): string => {
  const perMigration = new Table({
    head: ['pod', 'from → to', 'strategy', 'total s', 'longest gap ms', 'failed probes', 'phases, s'],
    style: { head: [], border: [] },
  });
  for (const migration of proof.migrations)
    perMigration.push([
      migration.pod,
      `${migration.from} → ${migration.to}`,
      migration.strategy,
      migration.totalSeconds.toFixed(2),
      Math.round(migration.longestGapMs),
      migration.failedProbes,
      phases(migration),
    ]);
  const last = proof.migrations.at(-1);
  if (!last) return perMigration.toString();
  const claims = new Table({ style: { head: [], border: [] } });
  claims.push(['messages confirmed by the broker', last.confirmed, ''], ['messages applied', last.applied, '']);
  for (const [label, value, good] of CLAIMS)
    claims.push([label, String(value(last)), value(last) === good ? 'as it must be' : 'WRONG']);
  const errors = proof.migrations.flatMap(({ error }) => (error === undefined ? [] : [`Error: ${error}`]));
  const verdict = proof.ok
    ? 'Proven: nothing lost, nothing twice, in order, the memory moved.'
    : 'NOT proven, see above.';
  return [perMigration.toString(), claims.toString(), ...errors, verdict].join('\n');
};

/** Several runs as one. */
export const joined = (proofs: readonly Proof[]): Proof => ({
  ok: proofs.length > 0 && proofs.every(({ ok }) => ok),
  migrations: proofs.flatMap(({ migrations }) => migrations),
});

const median = (sorted: readonly number[]): number => {
  const middle = sorted.length / 2;
  return Number.isInteger(middle)
    ? ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
    : (sorted[Math.floor(middle)] ?? 0);
};

/** "median / worst" of one figure over the migrations of a run. */
const spread = (proof: Proof, value: (migration: MigrationProof) => number, digits: number): string => {
  const sorted = proof.migrations.map(value).sort((a, b) => a - b);
  return `${median(sorted).toFixed(digits)} / ${(sorted.at(-1) ?? 0).toFixed(digits)}`;
};

/** Runs of different strategies side by side; each has migrations of one strategy only. */
export const comparison = (proofs: readonly Proof[]): string => {
  const sides = new Table({
    head: ['median / worst', ...proofs.map(({ migrations }) => migrations[0]?.strategy ?? '')],
    style: { head: [], border: [] },
  });
  sides.push(
    ['migrations', ...proofs.map(({ migrations }) => String(migrations.length))],
    ['whole migration, s', ...proofs.map((proof) => spread(proof, (each) => each.totalSeconds, 2))],
    ['longest gap in its outputs, ms', ...proofs.map((proof) => spread(proof, (each) => each.longestGapMs, 0))],
    ['failed probes of 10 ms', ...proofs.map((proof) => spread(proof, (each) => each.failedProbes, 0))],
    ['proven exact', ...proofs.map(({ ok }) => (ok ? 'yes' : 'NO'))],
  );
  return sides.toString();
};
