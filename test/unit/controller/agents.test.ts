/** What the controller makes of an agent that is not there. */
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import type { V1Pod } from '@kubernetes/client-node';
import { expect, it, onTestFinished } from 'vitest';
import { PORT } from '../../../webhook/api/names.ts';
import { createAgents } from '../../../webhook/controller/agents.ts';

const SILENT = '127.0.7.7';
const AGENT_POD: V1Pod = { spec: { nodeName: 'dark', containers: [] }, status: { podIP: SILENT } };

it('one whose node is silent is given up long before the call would be: an abort has several to make', async () => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => void sockets.push(socket)).listen(PORT.agent, SILENT);
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const agents = createAgents({ tls: () => ({ cert: '', key: '', ca: '' }), pods: () => [AGENT_POD] });
  await expect(agents.of('dark').node({})).rejects.toMatchObject({
    code: 'SHADOW_E_AGENT_UNREACHABLE',
    retryable: true,
    message: expect.stringContaining('no connection within'),
  });
}, 8_000);
