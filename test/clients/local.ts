/** A client's worker as a process of this machine, for tests without a cluster. */
import { spawn } from 'node:child_process';
import { guard } from '../broker/support/guard.ts';
import { CLIENT, type ClientName } from './clients.ts';
import type { WorkerSnapshot } from './worker.ts';

export interface Worker {
  /** What it remembers; fails while it does not consume. */
  state(): Promise<WorkerSnapshot>;
  /** What it has said so far. */
  said(): string;
  /** SIGKILL: nothing it would do at its end is asked for. */
  stop(): Promise<void>;
}

export interface WorkerSettings {
  readonly url: string;
  readonly topic: string;
  readonly port: number;
}

export const startWorker = async (name: ClientName, { url, topic, port }: WorkerSettings): Promise<Worker> => {
  const { argv, env } = await CLIENT[name].local();
  const [program = '', ...args] = argv;
  const child = spawn(program, args, {
    env: { ...process.env, ...env, AMQP_URL: url, TOPIC: topic, PORT: String(port) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data: Buffer) => {
      said = (said + data.toString()).slice(-8000);
    });
  let exited = false;
  const end = new Promise<void>((resolve) =>
    child.once('close', () => {
      exited = true;
      resolve();
    }),
  );
  const calledOff = guard({ pid: child.pid!, after: ['true'], directories: [] });
  return {
    state: async () => {
      if (exited) throw new Error(`it has ended:\n${said}`);
      const response = await fetch(`http://127.0.0.1:${port}/state`, { signal: AbortSignal.timeout(5000) });
      if (!response.ok) throw new Error(`it does not consume:\n${said}`);
      return (await response.json()) as WorkerSnapshot;
    },
    said: () => said,
    stop: async () => {
      child.kill('SIGKILL');
      await end;
      calledOff();
    },
  };
};
