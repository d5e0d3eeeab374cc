/** What stands between client and broker, each in a process of its own, fresh for every sample. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { accepts, freePort } from '../playground/ports.ts';
import { Pod } from './pod.ts';
import { type Running, start } from './processes.ts';
import type { Mode } from './rows.ts';

export interface Middle {
  /** Where the client connects. */
  readonly host: string;
  readonly port: number;
  /** undefined: nothing is in the middle. */
  readonly pid: number | undefined;
  /** Done beside the load, once it runs; resolves when the measured window may begin. */
  prepare(connections: number): Promise<void>;
  /** Throws when it is not in the state that is to be measured. */
  assertReady(): void;
  stop(): Promise<void>;
}

export interface MiddleOptions {
  readonly broker: { readonly host: string; readonly port: number };
  readonly toxiproxy: string;
  readonly bundle: string;
  /** For files of its own; need not exist. */
  readonly dir: string;
}

/** Another loopback address, so that the port can be the broker's, as in a pod. */
const LISTEN = '127.0.0.2';
const READY_MS = 20_000;

const nothing = { prepare: async () => undefined, assertReady: () => undefined };

const listening = async (running: Running, port: number): Promise<Middle> => {
  const deadline = performance.now() + READY_MS;
  while (!(await accepts(port, LISTEN))) {
    if (performance.now() > deadline || running.child.exitCode !== null) {
      await running.stop();
      throw new Error(`nothing listens on ${LISTEN}:${port}\n${running.said()}`);
    }
    await sleep(20);
  }
  return { ...nothing, host: LISTEN, port, pid: running.pid, stop: () => running.stop() };
};

const pipe = ({ broker }: MiddleOptions): Promise<Middle> => {
  const program = join(import.meta.dirname, 'pipe.ts');
  const argv = [process.execPath, program, LISTEN, `${broker.port}`, broker.host, `${broker.port}`];
  return listening(start(argv), broker.port);
};

const toxiproxy = async ({ broker, toxiproxy: program, dir }: MiddleOptions): Promise<Middle> => {
  mkdirSync(dir, { recursive: true });
  const config = join(dir, 'toxiproxy.json');
  const proxy = { name: 'amqp', listen: `${LISTEN}:${broker.port}`, upstream: `${broker.host}:${broker.port}` };
  writeFileSync(config, JSON.stringify([{ ...proxy, enabled: true }]));
  const argv = [program, '-host', '127.0.0.1', '-port', `${await freePort()}`, '-config', config];
  return listening(start(argv, { env: { LOG_LEVEL: 'error' } }), broker.port);
};

const sidecar = async ({ broker, bundle, dir }: MiddleOptions, recording: boolean): Promise<Middle> => {
  const pod = await Pod.start({ bundle, dir, broker: { ...broker, listen: LISTEN } });
  const middle = await listening(pod.running, broker.port).catch(async (error: unknown) => {
    await pod.stop();
    throw error;
  });
  return {
    ...middle,
    ...(recording
      ? { prepare: (connections: number) => pod.record(connections), assertReady: () => pod.assertRecording() }
      : {}),
    stop: () => pod.stop(),
  };
};

export const openMiddle = async (mode: Mode, options: MiddleOptions): Promise<Middle> => {
  switch (mode) {
    case 'direct':
      return { ...nothing, ...options.broker, pid: undefined, stop: async () => undefined };
    case 'pipe':
      return pipe(options);
    case 'toxiproxy':
      return toxiproxy(options);
    case 'sidecar':
      return sidecar(options, false);
    case 'recording':
      return sidecar(options, true);
  }
};
