/** The evaluation's consumers as processes of this machine. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { until } from '../../../scripts/demonstration/until.ts';
import type { State } from '../../../scripts/eval/measure.ts';
import type { App } from '../../../scripts/eval/results.ts';
import { PYTHON, pikaPackage } from '../../../scripts/images/python.ts';
import { freePort } from '../../../scripts/playground/ports.ts';

const APPS = join(import.meta.dirname, '../../../scripts/eval/apps');

const COMMAND: Readonly<Record<App, () => Promise<{ argv: [string, string]; env: Record<string, string> }>>> = {
  node: async () => ({ argv: [process.execPath, join(APPS, 'ms2m-consumer/main.ts')], env: {} }),
  python: async () => ({
    argv: [PYTHON, join(APPS, 'python/consumer.py')],
    env: { PYTHONPATH: await pikaPackage(), PYTHONDONTWRITEBYTECODE: '1' },
  }),
};

export interface Consumer {
  /** HTTP. */
  readonly url: string;
  state(): Promise<State>;
  /** What it remembers once it has applied so many messages. */
  applied(count: number): Promise<State>;
  signal(name: NodeJS.Signals): void;
}

export interface ConsumerSettings {
  readonly app: App;
  /** Of the broker. */
  readonly port: number;
  readonly pod: string;
  readonly workMs?: number;
}

/** Ends with its test. Connects again after 300 ms. */
export const startConsumer = async ({ app, port, pod, workMs = 5 }: ConsumerSettings): Promise<Consumer> => {
  const { argv, env } = await COMMAND[app]();
  const http = await freePort();
  const settings = {
    AMQP_URL: `amqp://guest:guest@127.0.0.1:${port}/%2f`,
    POD_NAME: pod,
    RECONNECT_MS: '300',
    PROCESSING_DELAY_MS: String(workMs),
    PORT: String(http),
  };
  const [program, script] = argv;
  const child = spawn(program, [script], {
    env: { ...process.env, ...env, ...settings },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const url = `http://127.0.0.1:${http}/`;
  const state = async (): Promise<State> => {
    const response = await fetch(`${url}state`, { signal: AbortSignal.timeout(5000) });
    return (await response.json()) as State;
  };
  return {
    url,
    state,
    applied: (count) =>
      until(`${count} messages`, 20_000, async () => {
        const now = await state();
        return now.count >= count ? now : undefined;
      }),
    signal: (name) => void child.kill(name),
  };
};
