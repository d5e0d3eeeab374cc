import { Counter } from 'prom-client';
import { expect, test } from 'vitest';
import { createRegistry, serveMetrics } from '../../../webhook/metrics.ts';
import { log } from './world.ts';

test('metrics and probes: alive is not ready, and a check that throws is no', async () => {
  const registry = createRegistry('controller');
  new Counter({ name: 'shadow_migrations_total', help: 'Migrations', registers: [registry] }).inc(2);
  let ready: () => boolean = () => false;
  const server = await serveMetrics({ registry, port: 0, ready: () => ready(), log });
  const get = async (path: string): Promise<[number, string]> => {
    const response = await fetch(`http://127.0.0.1:${server.port}${path}`);
    return [response.status, await response.text()];
  };
  expect(await get('/healthz')).toEqual([200, 'ok\n']);
  expect(await get('/readyz')).toEqual([503, 'not ready\n']);
  ready = () => {
    throw new Error('no lease');
  };
  expect((await get('/readyz'))[0]).toBe(503);
  ready = () => true;
  expect((await get('/readyz?verbose'))[0]).toBe(200);
  expect((await get('/metrics'))[1]).toContain('shadow_migrations_total{part="controller"} 2');
  expect((await get('/secret'))[0]).toBe(404);
  await server.close();
});
