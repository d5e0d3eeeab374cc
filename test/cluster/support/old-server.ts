/**
 * A stand-in for an old API server: nobody has one to try. It passes everything on to the real one, but tells another version,
 * and knows nothing of our kind, as no server does on which we were never installed.
 */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { GROUP } from '../../../webhook/api/migration.ts';
import type { Bed } from './bed.ts';

export interface OldServer {
  readonly kubeconfig: string;
  /** "PATCH /api/v1/…" of each request that was to change something: no dry run, no review. */
  readonly writes: readonly string[];
  close(): Promise<void>;
}

const changes = ({ method, url = '' }: http.IncomingMessage): boolean =>
  method !== 'GET' && !url.includes('dryRun=All') && !url.endsWith('accessreviews');

/** As its administrator, whoever asks. The kubeconfig is written to `scratch`. */
export const oldServer = async (bed: Bed, gitVersion: string, scratch: string): Promise<OldServer> => {
  const { config } = bed.kube;
  const real = new URL(config.getCurrentCluster()!.server);
  const identity: https.RequestOptions = {};
  await config.applyToHTTPSOptions(identity);
  const writes: string[] = [];
  const pass = (request: http.IncomingMessage, response: http.ServerResponse): void => {
    const headers = { ...request.headers, ...identity.headers, host: real.host } as http.OutgoingHttpHeaders;
    const onward = https.request(new URL(request.url!, real), { ...identity, method: request.method, headers });
    onward.on('error', () => response.destroy());
    onward.on('response', (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    request.pipe(onward);
  };
  const server = http.createServer((request, response) => {
    if (changes(request)) writes.push(`${request.method} ${request.url}`);
    if (request.url === '/version') response.end(JSON.stringify({ gitVersion }));
    else if (request.url?.includes(GROUP)) response.writeHead(404).end('404 page not found\n');
    else pass(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const kubeconfig = join(scratch, 'old.json');
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'old', cluster: { server: address, 'insecure-skip-tls-verify': true } }],
      users: [{ name: 'old', user: {} }],
      contexts: [{ name: 'old', context: { cluster: 'old', user: 'old', namespace: bed.namespace } }],
      'current-context': 'old',
    }),
  );
  return {
    kubeconfig,
    writes,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
};
