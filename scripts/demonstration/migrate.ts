/** Runs a migration with the plugin a user runs, and reads what became of it from the API. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { StatefulMigration } from '../../webhook/api/migration.ts';
import { type Kube, listMigrations } from './kube.ts';

const root = join(import.meta.dirname, '../..');
export const PLUGIN = join(root, 'plugin/bin/kubectl-shadow');

export interface PluginResult {
  exit: number;
  stdout: string;
  stderr: string;
}

export interface PluginOptions {
  kubeconfig: string;
  /** 'inherit': the user sees it as if they had typed it. 'stderr': all of it goes to our standard error. */
  output?: 'inherit' | 'stderr' | 'collect';
  timeoutMs?: number;
  signal?: AbortSignal;
}

const collect = (output: 'stderr' | 'collect', stream: NodeJS.ReadableStream | null): { text: string } => {
  const collected = { text: '' };
  stream?.on('data', (chunk: Buffer) => {
    collected.text += chunk.toString();
    if (output === 'stderr') process.stderr.write(chunk);
  });
  return collected;
};

/** Killed after `timeoutMs` (default ten minutes); then its exit is 137. */
export const runPlugin = (args: readonly string[], options: PluginOptions): Promise<PluginResult> => {
  const output = options.output ?? 'collect';
  const child = spawn(PLUGIN, args, {
    stdio: output === 'inherit' ? ['ignore', 'inherit', 'inherit'] : ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, KUBECONFIG: options.kubeconfig },
    timeout: options.timeoutMs ?? 600_000,
    killSignal: 'SIGKILL',
    ...(options.signal ? { signal: options.signal } : {}),
  });
  const mode = output === 'inherit' ? 'collect' : output;
  const stdout = collect(mode, child.stdout);
  const stderr = collect(mode, child.stderr);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ exit: code ?? 137, stdout: stdout.text, stderr: stderr.text }));
  });
};

export interface MigrateRequest {
  namespace: string;
  pod: string;
  to: string;
  strategy?: string | undefined;
}

export interface Migrated extends PluginResult {
  /** performance.now() when the command was typed and when it had ended. */
  from: number;
  to: number;
  /** The object the command made; none when it was refused before. */
  migration: StatefulMigration | undefined;
}

export const migrate = async (kube: Kube, request: MigrateRequest, options: PluginOptions): Promise<Migrated> => {
  const before = new Set((await listMigrations(kube, request.namespace)).map(({ metadata }) => metadata.uid));
  const args = [
    'migrate',
    `pod/${request.pod}`,
    '-n',
    request.namespace,
    '--to',
    request.to,
    '--wait',
    '--timeout',
    '5m',
  ];
  if (request.strategy !== undefined) args.push('--strategy', request.strategy);
  const from = performance.now();
  const result = await runPlugin(args, options);
  const to = performance.now();
  const migration = (await listMigrations(kube, request.namespace)).find(
    ({ metadata, spec }) => !before.has(metadata.uid) && spec.sourcePod === request.pod,
  );
  return { ...result, from, to, migration };
};

const UNITS: Readonly<Record<string, number>> = { h: 3600, m: 60, s: 1, ms: 1e-3, us: 1e-6, µs: 1e-6, ns: 1e-9 };

/** A Go duration string in seconds: "1m2.5s" → 62.5; NaN when it is none. */
export const goSeconds = (text: string): number => {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|us|µs|ns|s)/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text) return text === '0' ? 0 : Number.NaN;
  return parts.reduce((sum, [, amount, unit]) => sum + Number(amount) * UNITS[unit!]!, 0);
};

export const phaseSeconds = (migration: StatefulMigration | undefined): Record<string, number> =>
  Object.fromEntries(
    Object.entries(migration?.status?.phaseTimings ?? {}).map(([phase, duration]) => [phase, goSeconds(duration)]),
  );

/** Undefined while it has not ended. */
export const totalSeconds = (migration: StatefulMigration | undefined): number | undefined => {
  const { startTime, completionTime } = migration?.status ?? {};
  return startTime === undefined || completionTime === undefined
    ? undefined
    : (Date.parse(completionTime) - Date.parse(startTime)) / 1000;
};
