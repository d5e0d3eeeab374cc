/** One sidecar: relay, health and control, wired. main.ts adds the process around it. */
import { randomUUID } from 'node:crypto';
import * as z from 'zod';
import packageJson from '../../package.json' with { type: 'json' };
import { CONTROL_PATH } from '../api/control.ts';
import { asShadowError, ShadowError } from '../api/errors.ts';
import { BLIND_PORTS, CONTROLLER, NAMESPACE, PORT, SIDECAR, serviceHost } from '../api/names.ts';
import { PROTOCOL } from '../api/skew.ts';
import type { Log } from '../log.ts';
import { type Commands, createCommands } from './commands.ts';
import { createControl } from './control.ts';
import { restarted } from './handoff.ts';
import { createHealth } from './health.ts';
import { pathsOf, readCredentials, readIdentity } from './identity.ts';
import { claimOfMarker, clearFreeze, removeMarker } from './marker.ts';
import type { RelayLike } from './relay-api.ts';

const Host = z.object({ host: z.string().min(1), port: z.number().int().min(1).max(65535) });
/** As brokers.ts of the admission writes them. */
const Brokers = z
  .array(
    Host.extend({
      listen: z.ipv4(),
      listenToo: z.ipv6().optional(),
      tls: z.boolean().optional(),
      others: z.array(Host).optional(),
    }),
  )
  .min(1);
type Brokers = z.infer<typeof Brokers>;

export interface Settings {
  readonly brokers: Brokers;
  readonly blindPorts: readonly number[];
  /** Where the Secret of the brokers' TLS is mounted, if there is one. */
  readonly tlsDir: string;
  readonly controllerUrl: string;
  /** The name in its certificate. */
  readonly controllerName: string;
  readonly healthPort: number;
  readonly graceMs: number;
  /** Longest time that a lost broker connection is kept from the app; 0: it is not. */
  readonly reattachMs: number;
}

const Port = z.coerce.number<string>().int().min(0).max(65535);
/** "15672,1883" or "[15672,1883]"; '' for none. */
const Ports = z
  .string()
  .transform((text) =>
    text
      .replace(/[[\]\s]/g, '')
      .split(',')
      .filter((port) => port !== ''),
  )
  .pipe(z.array(Port));
const Environment = z.object({
  SHADOW_BROKERS: z
    .string()
    .transform((text): unknown => JSON.parse(text))
    .pipe(Brokers),
  SHADOW_BLIND_PORTS: Ports.optional(),
  /** For tests. */
  SHADOW_TLS_DIR: z.string().default(SIDECAR.tlsDir),
  /** Where the controller runs. */
  SHADOW_NAMESPACE: z.string().min(1).default(NAMESPACE),
  /** For tests. */
  SHADOW_CONTROLLER_URL: z.url().optional(),
  SHADOW_HEALTH_PORT: Port.default(PORT.health),
  SHADOW_GRACE_SECONDS: z.coerce.number().min(0).default(25),
  // Ten days are more than enough, and a timer takes no more than 24.
  SHADOW_REATTACH_SECONDS: z.coerce.number().min(0).max(864_000).default(60),
});

/** Throws SHADOW_E_INVALID naming the variable. */
export const settingsOf = (env: NodeJS.ProcessEnv): Settings => {
  try {
    const parsed = Environment.parse(env);
    const controllerName = serviceHost(CONTROLLER, parsed.SHADOW_NAMESPACE);
    return {
      brokers: parsed.SHADOW_BROKERS,
      blindPorts: parsed.SHADOW_BLIND_PORTS ?? BLIND_PORTS,
      tlsDir: parsed.SHADOW_TLS_DIR,
      controllerUrl: parsed.SHADOW_CONTROLLER_URL ?? `wss://${controllerName}:${PORT.controller}${CONTROL_PATH}`,
      controllerName,
      healthPort: parsed.SHADOW_HEALTH_PORT,
      graceMs: parsed.SHADOW_GRACE_SECONDS * 1000,
      reattachMs: parsed.SHADOW_REATTACH_SECONDS * 1000,
    };
  } catch (error) {
    const detail =
      error instanceof z.ZodError ? z.prettifyError(error) : `SHADOW_BROKERS: ${asShadowError(error).message}`;
    throw new ShadowError('SHADOW_E_INVALID', detail, { cause: error });
  }
};

export interface StoppableRelay extends RelayLike {
  /** Lets the app's connections end by themselves, for at most graceMs. */
  stop(graceMs: number): Promise<void>;
}
export type CreateRelay = (options: {
  brokers: Brokers;
  blindPorts: readonly number[];
  tlsDir: string;
  reattachMs: number;
  log: Log;
}) => StoppableRelay;

export interface Sidecar {
  /** Where health listens, and what it is in. */
  healthPort(): number;
  commands: Commands;
  /** Returns when nothing of the app is left here. */
  stop(): Promise<void>;
}

const CHECK_MS = 500;

export const startSidecar = async (env: NodeJS.ProcessEnv, createRelay: CreateRelay, log: Log): Promise<Sidecar> => {
  const settings = settingsOf(env);
  const paths = pathsOf(env);
  const identity = readIdentity(paths.idDir);
  const process_ = randomUUID();
  const { brokers, blindPorts, tlsDir, reattachMs } = settings;
  const relay = createRelay({ brokers, blindPorts, tlsDir, reattachMs, log });
  const handoff = restarted(claimOfMarker(paths.runDir, identity.uid));
  clearFreeze(paths.runDir);
  // Another pod's marker, come along with its emptyDir.
  if (handoff.session) await removeMarker(paths.runDir);

  let started = false;
  const health = createHealth({
    port: settings.healthPort,
    state: () => commands.state().state,
    started: () => started,
    handoff: () => commands.state(),
    replay: () => commands.replay(),
    report: () => relay.report(),
    reattached: () => relay.reattached(),
    outstanding: () => ({
      carried: commands.state().state === 'live' ? relay.carriedOutstanding() : 0,
      settling: commands.state().state === 'superseded' ? relay.outstanding() : 0,
    }),
    log,
  });
  const commands = createCommands({
    relay,
    control: () => control,
    health,
    paths,
    uid: identity.uid,
    handoff,
    die: (why) => {
      log.fatal(why);
      process.exit(1);
    },
    log,
  });
  const control = createControl({
    url: settings.controllerUrl,
    serverName: settings.controllerName,
    credentials: () => readCredentials(paths.idDir),
    hello: () => ({
      ...{ type: 'hello', version: packageJson.version, protocol: PROTOCOL },
      process: process_,
      ...commands.hello(),
    }),
    urgent: () => commands.state().state !== 'idle',
    onOpen: commands.opened,
    onMessage: commands.handle,
    log,
  });

  log.info({ ...identity, version: packageJson.version, state: handoff.state }, 'sidecar starts');
  await health.start();
  // Mute by its predecessor's marker: it does not listen, so that the app's connections are refused until the controller decides.
  if (handoff.session) await relay.start();
  started = true;
  control.start();
  const checking = setInterval(commands.check, CHECK_MS);

  const stop = async (): Promise<void> => {
    const deadline = performance.now() + settings.graceMs;
    // A superseded source still settles for its copy; everyone else waits for its app to close its connections.
    while (commands.state().state === 'superseded' && !commands.finished() && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await relay.stop(commands.finished() ? 0 : Math.max(0, deadline - performance.now()));
    await commands.linger();
    clearInterval(checking);
    control.stop();
    health.stop();
  };
  return { healthPort: health.port, commands, stop };
};
