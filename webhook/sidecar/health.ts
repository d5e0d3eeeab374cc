/** Probes and metrics of the pod, plain HTTP: GET /started, /ready, /healthz, /metrics. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Counter, Gauge, Registry } from 'prom-client';
import { type SessionReport, SidecarState } from '../api/control.ts';
import type { Log } from '../log.ts';
import { unready } from './handoff.ts';

export interface HealthOptions {
  /** 0: any free port. */
  readonly port: number;
  readonly state: () => SidecarState;
  /** Whether the relay listens, or is known not to (mute after a restart): the app may start. */
  readonly started: () => boolean;
  readonly report: () => SessionReport;
  readonly outstanding: () => { carried: number; settling: number };
  readonly log: Pick<Log, 'error'>;
}

export interface Health {
  start(): Promise<void>;
  port(): number;
  /** Closes the listener and all connections at once; a probe in the accept queue would make the dump fail. */
  pause(): void;
  resume(): void;
  stop(): void;
}

const sum = (numbers: number[]): number => numbers.reduce((total, number) => total + number, 0);

const createSidecarRegistry = ({ state, report, outstanding }: HealthOptions): Registry => {
  const registry = new Registry();
  const registers = [registry];
  const gauge = (name: string, help: string, value: () => number): void => {
    new Gauge({
      name: `shadow_sidecar_${name}`,
      help,
      registers,
      collect() {
        this.set(value());
      },
    });
  };
  const counter = (name: string, help: string, value: () => number): void => {
    new Counter({
      name: `shadow_sidecar_${name}_total`,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(value());
      },
    });
  };
  const channels = (): SessionReport['connections'][number]['channels'] =>
    report().connections.flatMap((c) => c.channels);
  gauge('connections', 'AMQP connections of the app', () => report().connections.length);
  gauge('channels', 'AMQP channels of the app', () => channels().length);
  gauge('unsettled', 'Deliveries handed to the app and not settled', () => sum(channels().map((c) => c.unsettled)));
  gauge('carried_outstanding', 'Carried deliveries this copy has not settled', () => outstanding().carried);
  gauge('settling_outstanding', 'Carried deliveries this superseded source keeps open', () => outstanding().settling);
  counter('delivered', 'Messages delivered to the app', () => report().delivered);
  counter('published', 'Messages published by the app', () => report().published);
  new Gauge({
    name: 'shadow_sidecar_state',
    help: '1 for the state of the sidecar in a handoff, 0 for the others',
    labelNames: ['state'],
    registers,
    collect() {
      for (const name of SidecarState.options) this.set({ state: name }, name === state() ? 1 : 0);
    },
  });
  return registry;
};

export const createHealth = (options: HealthOptions): Health => {
  const { state, started, log } = options;
  const registry = createSidecarRegistry(options);
  let server: Server | undefined;
  let bound = options.port;

  const probe = (path: string): [number, string] => {
    if (path === '/healthz') return [200, 'ok'];
    if (path === '/started') return started() ? [200, 'ok'] : [503, 'not listening yet'];
    if (path === '/ready') return unready(state()) ? [503, state()] : [200, state()];
    return [404, 'not found'];
  };

  const create = (): Server =>
    createServer({ keepAlive: false }, (request, response) => {
      const path = (request.url ?? '/').split('?')[0] ?? '/';
      const send = (status: number, body: string, type = 'text/plain'): void => {
        response.writeHead(status, { 'content-type': type, connection: 'close' });
        response.end(body);
      };
      if (path !== '/metrics') return send(...probe(path));
      registry.metrics().then(
        (body) => send(200, body, registry.contentType),
        (error: unknown) => {
          log.error({ err: error }, 'metrics');
          send(500, 'failed');
        },
      );
    });

  const pause = (): void => {
    server?.close();
    server?.closeAllConnections();
    server = undefined;
  };

  const start = async (): Promise<void> => {
    const made = create();
    server = made;
    await new Promise<void>((resolve, reject) => {
      made.once('error', reject);
      made.listen(bound, resolve);
    });
    made.on('error', (error) => log.error({ err: error }, 'health server'));
    bound = (made.address() as AddressInfo).port;
  };

  return {
    start,
    port: () => bound,
    pause,
    resume: () => {
      // Nothing else may have taken the port: the pod's network is ours. Were it so, the kubelet would show it by its probe.
      start().catch((error: unknown) => log.error({ err: error }, 'health server'));
    },
    stop: pause,
  };
};
