/** Metrics and probes of webhook, controller and agent: plain HTTP, GET /metrics, /healthz, /readyz. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { collectDefaultMetrics, Registry } from 'prom-client';
import type { Log } from './log.ts';

/** A registry of its own for each part (and each test), with the process's usual metrics. */
export const createRegistry = (part: string): Registry => {
  const registry = new Registry();
  registry.setDefaultLabels({ part });
  collectDefaultMetrics({ register: registry, prefix: 'shadow_' });
  return registry;
};

export interface MetricsOptions {
  registry: Registry;
  /** 0: any free port. */
  port: number;
  /** Whether the part can do its work; throwing means no. */
  ready: () => boolean | Promise<boolean>;
  log: Pick<Log, 'warn'>;
}

export interface MetricsServer {
  readonly port: number;
  close(): Promise<void>;
}

interface Reply {
  status: number;
  type: string;
  body: string;
}

const text = (status: number, body: string): Reply => ({ status, type: 'text/plain', body: `${body}\n` });

const reply = async (path: string, { registry, ready }: MetricsOptions): Promise<Reply> => {
  if (path === '/healthz') return text(200, 'ok');
  if (path === '/readyz') return (await ready()) ? text(200, 'ok') : text(503, 'not ready');
  if (path === '/metrics') return { status: 200, type: registry.contentType, body: await registry.metrics() };
  return text(404, 'not found');
};

export const serveMetrics = async (options: MetricsOptions): Promise<MetricsServer> => {
  const server = createServer((request, response) => {
    reply((request.url ?? '/').split('?')[0] ?? '/', options)
      .catch((error: unknown) => {
        options.log.warn({ err: error, url: request.url }, 'probe failed');
        return text(503, 'failed');
      })
      .then(({ status, type, body }) => {
        response.writeHead(status, { 'content-type': type });
        response.end(request.method === 'HEAD' ? undefined : body);
      });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};
