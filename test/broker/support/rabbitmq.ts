/**
 * A real RabbitMQ for tests: own node name, ports, epmd, cookie and data; stopped by the pid it was started with, also when its
 * test is killed. SHADOW_TEST_RABBITMQ says which: 3, the machine's (default), or 4.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { type Installation, installation, isSeries, type Series } from '../../../scripts/playground/rabbitmq.ts';
import { guard } from './guard.ts';

const run = promisify(execFile);

export const freePort = async (): Promise<number> => {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
};

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });

export interface QueueState {
  name: string;
  messages_ready: number;
  messages_unacknowledged: number;
  consumers: number;
}

export interface RabbitMQ {
  readonly port: number;
  /** rabbitmqctl, quiet. */
  ctl(...args: string[]): Promise<string>;
  queues(): Promise<QueueState[]>;
  stop(): Promise<void>;
}

const wanted = (): Series => {
  const said = process.env.SHADOW_TEST_RABBITMQ ?? '3';
  if (!isSeries(said)) throw new Error(`SHADOW_TEST_RABBITMQ: no such series: ${said}`);
  return said;
};

/** `home` as the broker sees it. */
const environment = async (home: string, port: number) => ({
  PATH: process.env.PATH ?? '',
  LANG: 'C.UTF-8',
  HOME: home,
  RABBITMQ_NODENAME: `shadow${port}@localhost`,
  RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
  RABBITMQ_NODE_PORT: String(port),
  RABBITMQ_DIST_PORT: String(await freePort()),
  ERL_EPMD_PORT: String(await freePort()),
  ERL_EPMD_ADDRESS: '127.0.0.1',
  RABBITMQ_MNESIA_BASE: path.join(home, 'data'),
  RABBITMQ_LOG_BASE: path.join(home, 'log'),
  RABBITMQ_PID_FILE: path.join(home, 'pid'),
  RABBITMQ_ENABLED_PLUGINS_FILE: path.join(home, 'plugins'),
  RABBITMQ_CONF_ENV_FILE: path.join(home, 'env.conf'),
  RABBITMQ_CONFIG_FILE: path.join(home, 'rabbitmq'),
  // Idle schedulers must not spin: the machine has other work.
  RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '+sbwt none +sbwtdcpu none +sbwtdio none',
});

/** A directory of its own, with what it reads at its start. */
const makeHome = async (): Promise<string> => {
  const home = await mkdtemp(path.join(tmpdir(), 'shadow-rabbitmq-'));
  await writeFile(path.join(home, 'plugins'), '[].\n');
  await writeFile(path.join(home, 'rabbitmq.conf'), 'disk_free_limit.absolute = 10MB\n');
  return home;
};

/** `directories`: others that are to go when this process is killed. */
export const startRabbitMQ = async (
  directories: readonly string[] = [],
  series: Series = wanted(),
): Promise<RabbitMQ> => {
  const { inside, call }: Installation = await installation(series);
  const home = await makeHome();
  const port = await freePort();
  const env = await environment(inside(home), port);
  const log: string[] = [];
  const epmd = call(home, 'epmd', '-port', env.ERL_EPMD_PORT, '-kill');
  const [program = '', ...args] = call(home, 'rabbitmq-server');
  const server: ChildProcess = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [server.stdout, server.stderr]) stream?.on('data', (data: Buffer) => log.push(data.toString()));
  const calledOff = guard({ pid: server.pid!, after: epmd, directories: [home, ...directories] });
  let exited = false;
  const exit = new Promise<void>((resolve) =>
    server.once('exit', () => {
      exited = true;
      resolve();
    }),
  );

  const ctl = async (...words: string[]): Promise<string> => {
    const [rabbitmqctl = '', ...given] = call(home, 'rabbitmqctl', '-q', ...words);
    return (await run(rabbitmqctl, given, { env, maxBuffer: 1 << 24 })).stdout;
  };
  const stop = async (): Promise<void> => {
    if (!exited) {
      server.kill('SIGTERM');
      const timer = setTimeout(() => server.kill('SIGKILL'), 15_000);
      await exit;
      clearTimeout(timer);
    }
    await run(epmd[0]!, epmd.slice(1), { env }).catch(() => undefined);
    await rm(home, { recursive: true, force: true });
    calledOff();
  };

  const deadline = Date.now() + 90_000;
  while (!(await accepts(port))) {
    if (exited || Date.now() > deadline) {
      await stop();
      throw new Error(`RabbitMQ did not start:\n${log.join('').slice(-4000)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return {
    port,
    ctl,
    queues: async () =>
      JSON.parse(
        await ctl(
          'list_queues',
          'name',
          'messages_ready',
          'messages_unacknowledged',
          'consumers',
          '--formatter',
          'json',
        ),
      ) as QueueState[],
    stop,
  };
};
