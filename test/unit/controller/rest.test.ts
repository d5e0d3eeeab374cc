/** The API server's connection, cut where it hurts. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { KubeConfig } from '@kubernetes/client-node';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { selfSigned } from '../../../webhook/admission/ca/authority.ts';
import { Rest } from '../../../webhook/controller/rest.ts';

const { cert, key } = selfSigned('localhost', Date.now(), 86_400_000);
let server: Server;
let status = 200;

beforeEach(async () => {
  server = createServer({ cert, key }, (_request, response) => {
    response.writeHead(status);
    response.write('{"type":"ADDED","object":{"metadata":{"name":"a"}}}\n{"type":"MOD');
    setTimeout(() => response.socket?.destroy(), 20);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(() => void server.close());

const rest = (): Rest => {
  const config = new KubeConfig();
  const { port } = server.address() as AddressInfo;
  config.loadFromClusterAndUser(
    { name: 'c', server: `https://127.0.0.1:${port}`, skipTLSVerify: true },
    { name: 'u', token: 't' },
  );
  return new Rest(config);
};

// An error that nobody hears ends the process, and vitest counts it as a failure of the run.
test.each([200, 500])(
  'a watch that is cut in the middle of an answer of %d is a failed watch, no more',
  async (code) => {
    status = code;
    const seen: string[] = [];
    const options = { signal: new AbortController().signal, idleMs: 5_000 };
    await expect(rest().watch('/w', {}, ({ type }) => void seen.push(type), options)).rejects.toThrow(
      /aborted|ECONNRESET/,
    );
    expect(seen).toEqual(code === 200 ? ['ADDED'] : []);
  },
);
