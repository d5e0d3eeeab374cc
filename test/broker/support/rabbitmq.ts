/**
 * A real RabbitMQ for tests: own node name, ports, epmd, cookie and data; stopped by the pid it was started with, also when its
 * test is killed. SHADOW_TEST_RABBITMQ says which: 3, the machine's (default), or 4.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { accepts, freePort } from '../../../scripts/playground/ports.ts';
import {
  environmentOf,
  type Installation,
  installation,
  isSeries,
  OWN,
  type Series,
} from '../../../scripts/playground/rabbitmq.ts';
import { guard } from './guard.ts';

const run = promisify(execFile);

export interface QueueState {
  name: string;
  messages_ready: number;
  messages_unacknowledged: number;
  consumers: number;
}

export interface RabbitMQ {
  readonly port: number;
  /** Where it speaks TLS; 0: nowhere. */
  readonly tlsPort: number;
  /** rabbitmqctl, quiet. */
  ctl(...args: string[]): Promise<string>;
  /** Of the virtual host, default '/'. */
  queues(vhost?: string): Promise<QueueState[]>;
  /** To the node itself. */
  signal(name: NodeJS.Signals): Promise<void>;
  /** Ends it without a word, as a power loss would; its data stay. */
  crash(): Promise<void>;
  /** After a crash: the same node again, on the same port. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

const wanted = (): Series => {
  const said = process.env.SHADOW_TEST_RABBITMQ ?? '3';
  if (!isSeries(said)) throw new Error(`SHADOW_TEST_RABBITMQ: no such series: ${said}`);
  return said;
};

export interface Listening {
  /** Paths of PEM files. Clients may show a certificate; a user is then its common name (SASL EXTERNAL). */
  readonly tls?: Readonly<Record<TlsFile, string>>;
  /** On ::1 as well, same port. */
  readonly ipv6?: boolean;
  readonly plugins?: readonly string[];
  /** Further lines of rabbitmq.conf. */
  readonly config?: readonly string[];
}

const TLS_FILES = ['ca', 'cert', 'key'] as const;
type TlsFile = (typeof TLS_FILES)[number];

/** `home` as the broker sees it. */
const environment = async (home: string, port: number) => ({
  ...environmentOf(home, `shadow${port}@localhost`),
  PATH: process.env.PATH ?? '',
  LANG: 'C.UTF-8',
  RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
  RABBITMQ_NODE_PORT: String(port),
  RABBITMQ_DIST_PORT: String(await freePort()),
  ERL_EPMD_PORT: String(await freePort()),
  ERL_EPMD_ADDRESS: '127.0.0.1',
});

const configOf = ({ tls, ipv6, config = [] }: Listening, port: number, tlsPort: number, home: string): string[] => [
  'disk_free_limit.absolute = 10MB',
  ...(ipv6 ? [`listeners.tcp.1 = 127.0.0.1:${port}`, `listeners.tcp.2 = ::1:${port}`] : []),
  ...(tls
    ? [
        `listeners.ssl.1 = 127.0.0.1:${tlsPort}`,
        ...(ipv6 ? [`listeners.ssl.2 = ::1:${tlsPort}`] : []),
        ...TLS_FILES.map((name) => `ssl_options.${name === 'ca' ? 'cacert' : name}file = ${path.join(home, name)}`),
        'ssl_options.verify = verify_peer',
        'ssl_options.fail_if_no_peer_cert = false',
        'ssl_cert_login_from = common_name',
        'auth_mechanisms.1 = PLAIN',
        'auth_mechanisms.2 = EXTERNAL',
      ]
    : []),
  ...config,
];

/** Puts into its home what it reads at its start. */
const fill = async (home: string, config: readonly string[], { tls, plugins = [] }: Listening): Promise<void> => {
  const enabled = [...plugins, ...(tls ? ['rabbitmq_auth_mechanism_ssl'] : [])];
  await writeFile(path.join(home, OWN.plugins), `[${enabled.join(',')}].\n`);
  await writeFile(path.join(home, OWN.config), `${config.join('\n')}\n`);
  // It may see nothing of this machine but its home.
  if (tls) for (const name of TLS_FILES) await copyFile(tls[name], path.join(home, name));
};

/** `directories`: others that are to go when this process is killed. */
export const startRabbitMQ = async (
  directories: readonly string[] = [],
  listening: Listening = {},
  series: Series = wanted(),
): Promise<RabbitMQ> => {
  const { inside, call }: Installation = await installation(series);
  const home = await mkdtemp(path.join(tmpdir(), 'shadow-rabbitmq-'));
  const port = await freePort();
  const tlsPort = listening.tls ? await freePort() : 0;
  const env = await environment(inside(home), port);
  await fill(home, configOf(listening, port, tlsPort, inside(home)), listening);
  const log: string[] = [];
  const epmd = call(home, 'epmd', '-port', env.ERL_EPMD_PORT, '-kill');
  const [program = '', ...args] = call(home, 'rabbitmq-server');
  let server: ChildProcess | undefined;
  let exit: Promise<void> = Promise.resolve();
  let calledOff = (): void => undefined;

  const ctl = async (...words: string[]): Promise<string> => {
    const [rabbitmqctl = '', ...given] = call(home, 'rabbitmqctl', '-q', ...words);
    return (await run(rabbitmqctl, given, { env, maxBuffer: 1 << 24 })).stdout;
  };
  const stop = async (): Promise<void> => {
    if (server) {
      server.kill('SIGTERM');
      const timer = setTimeout(() => server?.kill('SIGKILL'), 15_000);
      await exit;
      clearTimeout(timer);
    }
    await run(epmd[0]!, epmd.slice(1), { env }).catch(() => undefined);
    await rm(home, { recursive: true, force: true });
    calledOff();
  };
  const signal = async (name: NodeJS.Signals): Promise<void> => {
    // What was spawned is a script that waits for it.
    process.kill(Number(await readFile(path.join(home, OWN.pid), 'utf8')), name);
  };
  const crash = async (): Promise<void> => {
    await signal('SIGKILL');
    await exit;
    calledOff();
  };
  const start = async (): Promise<void> => {
    const started = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    server = started;
    for (const stream of [started.stdout, started.stderr])
      stream.on('data', (data: Buffer) => log.push(data.toString()));
    calledOff = guard({ pid: started.pid!, after: epmd, directories: [home, ...directories] });
    exit = new Promise((resolve) =>
      started.once('exit', () => {
        server = undefined;
        resolve();
      }),
    );
    const deadline = Date.now() + 90_000;
    while (!(await accepts(port)) || (tlsPort !== 0 && !(await accepts(tlsPort)))) {
      if (!server || Date.now() > deadline) {
        await stop();
        throw new Error(`RabbitMQ did not start:\n${log.join('').slice(-4000)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  };

  await start();
  return {
    port,
    tlsPort,
    ctl,
    queues: async (vhost = '/') =>
      JSON.parse(
        await ctl(
          'list_queues',
          '-p',
          vhost,
          'name',
          'messages_ready',
          'messages_unacknowledged',
          'consumers',
          '--formatter',
          'json',
        ),
      ) as QueueState[],
    signal,
    crash,
    start,
    stop,
  };
};
