import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server } from 'node:tls';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { LinkTls } from '../../../webhook/api/control.ts';
import { LINK_NAME, linkPair } from '../../../webhook/controller/link.ts';

const now = Date.now();
const { source, copy } = linkPair(now);
const other = linkPair(now);
let server: Server;
let served = 0;

beforeAll(async () => {
  server = createServer({ cert: source.cert, key: source.key, ca: source.peer, requestCert: true }, (socket) => {
    served += 1;
    socket.end('record');
  });
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(() => server.close());

/** What the source sends; '' when either side refuses the other. */
const dial = ({ cert, key, peer }: LinkTls, servername: string = LINK_NAME.source): Promise<string> =>
  new Promise((resolve) => {
    let text = '';
    const { port } = server.address() as AddressInfo;
    const socket = connect({ port, host: '127.0.0.1', servername, cert, key, ca: peer });
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(text));
  });

it('connects the two of one handoff, and nobody else either way', async () => {
  expect(await dial(copy)).toBe('record');
  expect(served).toBe(1);
  // another handoff's copy; a stranger that knows the copy's certificate but has not its key; the source itself
  expect(await dial({ ...other.copy, peer: copy.peer })).toBe('');
  expect(await dial({ ...source, peer: copy.peer })).toBe('');
  expect(served).toBe(1);
  // the copy of another source
  expect(await dial({ ...copy, peer: other.copy.peer })).toBe('');
  expect(await dial(copy, LINK_NAME.copy)).toBe('');
});
