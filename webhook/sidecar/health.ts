/** Probes and metrics of the pod, plain HTTP: GET /started, /ready, /healthz, /metrics. */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Registry } from 'prom-client';
import type { SidecarState } from '../api/control.ts';
import type { Log } from '../log.ts';
import { type Handoff, unready } from './handoff.ts';
import type { MetricsSource } from './metrics.ts';

export interface HealthOptions extends MetricsSource {
  /** 0: any free port. */
  readonly port: number;
  /** Whether the relay listens, or is known not to (mute after a restart): the app may start. */
  readonly started: () => boolean;
  readonly handoff: () => Handoff;
  readonly log: Pick<Log, 'error'>;
}

const REST_MS = 200;

/**
 * A copy is asked once a second whether it is ready, and the kubelet asks out of turn only when it has looked at the runtime
 * anew (once a second, too). So who asks is kept waiting, for less than the probe's timeout of a second, and hears at the
 * moment it goes live that it is. In these states nothing is frozen, which would cut off who waits.
 */
const HOLD_MS = 800;
const LOOK_MS = 10;
const COMING: readonly SidecarState[] = ['copy', 'replaying', 'replayed', 'attached'];

export interface Health {
  start(): Promise<void>;
  port(): number;
  /**
   * Resolves when nobody is being answered: then a freeze may follow in the same breath. The listener stays open: the kubelet
   * takes a refused probe for a pod that is not ready, and Services turn away from it for a second. One that comes meanwhile
   * waits unaccepted (the dump leaves it to the source). Who is still there after a while is cut off.
   */
  rest(): Promise<void>;
  stop(): void;
}

export const createHealth = (options: HealthOptions): Health => {
  const { state, started, handoff, log } = options;
  let registry: Registry | undefined;
  let server: Server | undefined;
  let bound = options.port;
  const open = new Set<Socket>();

  const probe = (path: string): [number, string] => {
    if (path === '/healthz') return [200, 'ok'];
    if (path === '/started') return started() ? [200, 'ok'] : [503, 'not listening yet'];
    if (path === '/ready') return unready(handoff()) ? [503, state()] : [200, state()];
    return [404, 'not found'];
  };

  const held = async (response: ServerResponse): Promise<void> => {
    const end = performance.now() + HOLD_MS;
    while (COMING.includes(state()) && performance.now() < end && !response.destroyed) await sleep(LOOK_MS);
  };

  const metrics = async (): Promise<{ body: string; type: string }> => {
    const { createSidecarRegistry } = await import('./metrics.ts');
    registry ??= createSidecarRegistry(options);
    return { body: await registry.metrics(), type: registry.contentType };
  };

  const create = (): Server =>
    createServer({ keepAlive: false }, (request, response) => {
      const path = (request.url ?? '/').split('?')[0] ?? '/';
      const send = (status: number, body: string, type = 'text/plain'): void => {
        response.writeHead(status, { 'content-type': type, connection: 'close' });
        response.end(body);
      };
      if (path === '/ready') return void held(response).then(() => send(...probe(path)));
      if (path !== '/metrics') return send(...probe(path));
      metrics().then(
        ({ body, type }) => send(200, body, type),
        (error: unknown) => {
          log.error({ err: error }, 'metrics');
          send(500, 'failed');
        },
      );
    });

  const stop = (): void => {
    server?.close();
    server?.closeAllConnections();
    server = undefined;
  };

  const rest = async (): Promise<void> => {
    const end = performance.now() + REST_MS;
    while (open.size > 0) {
      if (performance.now() > end) for (const socket of open) socket.destroy();
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };

  const start = async (): Promise<void> => {
    const made = create();
    server = made;
    await new Promise<void>((resolve, reject) => {
      made.once('error', reject);
      made.listen(bound, resolve);
    });
    made.on('error', (error) => log.error({ err: error }, 'health server'));
    made.on('connection', (socket) => {
      open.add(socket);
      socket.on('close', () => open.delete(socket));
    });
    bound = (made.address() as AddressInfo).port;
  };

  return { start, port: () => bound, rest, stop };
};
