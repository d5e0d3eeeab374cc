/** The playground's RabbitMQ: a plain process, of either series, in a network namespace of its own. */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ShadowError } from '../../webhook/api/errors.ts';
import { PKI, rabbitmqConf } from './config.ts';
import { inNetns, launch } from './launch.ts';
import { ADDRESS, BROKER, LOGS, NETNS, RUN } from './layout.ts';
import { accepts } from './ports.ts';
import { environmentOf, installation, isSeries, OWN, type Series } from './rabbitmq.ts';
import { poll, type Ran, run, tail } from './run.ts';
import { isAlive, readState, type State } from './state.ts';

const DIR = join(RUN, 'broker');
const SERIES_FILE = join(DIR, 'series');

/** Of the broker that was started last. */
export const brokerSeries = (): Series => {
  try {
    const said = readFileSync(SERIES_FILE, 'utf8');
    return isSeries(said) ? said : '3';
  } catch {
    return '3';
  }
};

/** In a network namespace of its own, so with an epmd of its own. */
const environment = (dir: string, series: Series): Record<string, string> =>
  environmentOf(dir, BROKER.nodename, `data-${series}`);

export const startBroker = async (state: State, series: Series): Promise<void> => {
  const { inside, call } = await installation(series);
  mkdirSync(DIR, { recursive: true });
  writeFileSync(join(DIR, OWN.config), rabbitmqConf(inside(DIR)));
  // What it reads is in its own directory: it may run in a root of its own.
  for (const name of ['ca.crt', 'rabbitmq.crt', 'rabbitmq.key']) copyFileSync(join(PKI, name), join(DIR, name));
  writeFileSync(join(DIR, OWN.plugins), '[].\n');
  writeFileSync(SERIES_FILE, series);
  const env = environment(inside(DIR), series);
  // Started by us, not by Erlang as a daemon: so it is known and goes with the rest.
  launch(state, NETNS.broker, 'epmd', call(DIR, 'epmd'), env);
  launch(state, NETNS.broker, 'rabbitmq', call(DIR, 'rabbitmq-server'), env);
};

/** As an operator does: its clients are told, what is durable is on the disk. */
export const stopBroker = async (state: State): Promise<void> => {
  for (const name of ['rabbitmq', 'epmd']) {
    const found = state.processes[name];
    if (found === undefined || !isAlive(found)) continue;
    process.kill(found.pid, 'SIGTERM');
    if ((await poll(60_000, 50, () => (isAlive(found) ? undefined : true))) === undefined)
      throw new ShadowError('SHADOW_E_INTERNAL', `${name} does not end\n${tail(join(LOGS, `${name}.log`))}`);
  }
};

export const brokerReady = async (): Promise<void> => {
  if ((await poll(60_000, 200, async () => (await accepts(BROKER.port, ADDRESS.broker)) || undefined)) === undefined)
    throw new ShadowError('SHADOW_E_INTERNAL', `RabbitMQ does not come up\n${tail(join(LOGS, 'rabbitmq.log'))}`);
};

/** The same broker again, or one of the other series with data of its own in its place. Resolves when it answers. */
export const restartBroker = async (series: Series = brokerSeries()): Promise<void> => {
  const state = readState();
  await stopBroker(state);
  await startBroker(state, series);
  await brokerReady();
};

export const rabbitmqctl = async (args: readonly string[]): Promise<Ran> => {
  const series = brokerSeries();
  const { inside, call } = await installation(series);
  const argv = [...inNetns(NETNS.broker), ...call(DIR, 'rabbitmqctl', ...args)];
  return run(argv, { env: environment(inside(DIR), series) });
};
