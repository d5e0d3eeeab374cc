import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { issue, newCA } from '../../../webhook/admission/ca/authority.ts';
import { complaint, examine, namesHandler } from '../../../webhook/agent/examine.ts';
import { checkpointRefusal } from '../../../webhook/agent/kubelet-driver.ts';
import { CommandError, LAYOUT, type Node } from '../../../webhook/agent/node.ts';
import { AGENT_CALLS } from '../../../webhook/api/agent.ts';

let base: string;
beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), 'examine-'));
  mkdirSync(join(base, 'staged'));
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

type Answers = Record<string, string | Error>;

/** A node whose tools answer this; others are not there. */
const nodeWith = (answers: Answers): Node => ({
  name: 'n',
  layout: { ...LAYOUT, root: '', staged: join(base, 'staged'), checkpoints: join(base, 'staged'), bin: base },
  at: (path) => path,
  run: async (command, args) => {
    const answer = answers[[command, ...args].join(' ')];
    if (answer === undefined) throw new CommandError(command, null, `spawn ${command} ENOENT`);
    if (answer instanceof Error) throw answer;
    return answer;
  },
  flow: (command) => {
    throw new CommandError(command, null, `spawn ${command} ENOENT`);
  },
  canHurry: async () => false,
});
const DUMP = "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.shadow]\n";
const GOOD: Answers = {
  'containerd --version': 'containerd github.com/x v2.3.7 abc',
  'runc --version': 'runc version 1.4.3',
  'criu --version': 'Version: 4.2.1',
  'criu check': 'Looks good.\n',
  'containerd config dump': DUMP,
};
const of = (answers: Answers, refusal = '') => examine(nodeWith(answers), async () => refusal);

describe('a node', () => {
  test('that is fit has nothing to say but its versions', async () => {
    const found = await of(GOOD);
    expect(found).toMatchObject({ criu: '4.2.1', criuCheck: '', handlerConfigured: true, checkpointApi: '' });
    expect(AGENT_CALLS.examine.response.safeParse(found).success).toBe(true);
  });
  test('without CRIU says that, and not what its check could not say either', async () => {
    const { 'criu --version': _, 'criu check': _check, ...rest } = GOOD;
    expect(await of(rest)).toMatchObject({ criu: '', criuCheck: '' });
  });
  test('whose kernel CRIU does not like says why, in a line', async () => {
    const stderr = 'Warn  (x.c:1): odd\nError (criu/cr-check.c:520): no CAP_CHECKPOINT_RESTORE\nDoes not look good.\n';
    const found = await of({ ...GOOD, 'criu check': new CommandError('criu', 1, stderr) });
    expect(found.criuCheck).toBe('Error (criu/cr-check.c:520): no CAP_CHECKPOINT_RESTORE');
    expect(complaint('Does not look good.\n')).toBe('Does not look good.');
  });
  test('whose containerd can not be asked leaves that open', async () => {
    const { 'containerd config dump': _, ...rest } = GOOD;
    expect(await of(rest)).not.toHaveProperty('handlerConfigured');
    expect(await of({ ...GOOD, 'containerd config dump': '[plugins]' })).toHaveProperty('handlerConfigured', false);
  });
  test("the handler's entry is found in both of containerd's spellings, and no other's is taken for it", () => {
    expect(namesHandler('[plugins."io.containerd.grpc.v1.cri".containerd.runtimes."shadow"]')).toBe(true);
    expect(namesHandler(DUMP)).toBe(true);
    expect(namesHandler('[plugins.x.containerd.runtimes.shadowy]')).toBe(false);
    expect(namesHandler('[plugins.x.containerd.runtimes.shadow.options]')).toBe(false);
  });
});

describe("the kubelet's checkpoint API", () => {
  const ca = newCA(Date.now());
  const own = issue(ca, 'agent', Date.now());
  const ask = async (status: number, body: string): Promise<string> => {
    const asked: string[] = [];
    const server = createServer(own, (request, response) => {
      asked.push(`${request.method} ${request.url} ${request.headers.authorization}`);
      response.writeHead(status).end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as AddressInfo;
      const refusal = await checkpointRefusal({
        ...{ host: '127.0.0.1', port, names: ['shadow-agent'] },
        ...{ token: async () => 'T\n', ca: async () => [ca.cert] },
      });
      expect(asked).toEqual(['POST /checkpoint/default/~/~ Bearer T']);
      return refusal;
    } finally {
      server.close();
      server.closeAllConnections();
    }
  };
  test('is there when it misses the pod, and is not when it misses the path', async () => {
    expect(await ask(404, 'pod does not exist')).toBe('');
    expect(await ask(404, '404: Page Not Found')).toMatch(/ContainerCheckpoint/);
    expect(await ask(403, 'Forbidden (user=x)')).toMatch(/answered 403: Forbidden/);
  });
  test('of a kubelet that is not reached is told as that', async () => {
    const access = { host: '127.0.0.1', port: 1, names: [], token: async () => '', ca: async () => [ca.cert] };
    expect(await checkpointRefusal(access)).toMatch(/not reached/);
  });
});
