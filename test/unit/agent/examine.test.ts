import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { issue, newCA } from '../../../webhook/admission/ca/authority.ts';
import { complaint, examine } from '../../../webhook/agent/examine.ts';
import { checkpointRefusal } from '../../../webhook/agent/kubelet-driver.ts';
import { CommandError, LAYOUT, type Node } from '../../../webhook/agent/node.ts';
import { dropInOf } from '../../../webhook/agent/setup/config.ts';
import { AGENT_CALLS } from '../../../webhook/api/agent.ts';

let base: string;
beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), 'examine-'));
  mkdirSync(join(base, 'staged'));
  // containerd as a process of the node, with a configuration of its own.
  mkdirSync(join(base, 'proc/1/ns'), { recursive: true });
  mkdirSync(join(base, 'proc/7/ns'), { recursive: true });
  for (const pid of ['1', '7']) symlinkSync('mnt:[1]', join(base, 'proc', pid, 'ns/mnt'));
  symlinkSync('/usr/bin/containerd', join(base, 'proc/7/exe'));
  writeFileSync(join(base, 'proc/7/comm'), 'containerd\n');
  writeFileSync(join(base, 'proc/7/cmdline'), 'containerd\0--config\0/etc/own.toml\0');
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

type Answers = Record<string, string | Error>;

/** A node whose tools answer this; others are not there. */
const nodeWith = (answers: Answers): Node => ({
  name: 'n',
  layout: {
    ...LAYOUT,
    root: '',
    proc: join(base, 'proc'),
    staged: join(base, 'staged'),
    checkpoints: join(base, 'staged'),
    bin: base,
  },
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
const ASK = '/usr/bin/containerd --config /etc/own.toml config dump';
const DUMP = dropInOf('', 3);
const GOOD: Answers = {
  'containerd --version': 'containerd github.com/x v2.3.7 abc',
  'runc --version': 'runc version 1.4.3',
  'criu --version': 'Version: 4.2.1',
  'criu check': 'Looks good.\n',
  [ASK]: DUMP,
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
    const { [ASK]: _, ...rest } = GOOD;
    expect(await of(rest)).not.toHaveProperty('handlerConfigured');
    expect(await of({ ...GOOD, [ASK]: 'not TOML' })).not.toHaveProperty('handlerConfigured');
  });
  test.each([
    ['no entry', '[plugins]', false],
    ["containerd's older spelling", dropInOf('', 2), true],
    ['an entry of another name', DUMP.replaceAll('runtimes.shadow', 'runtimes.shadowy'), false],
    ['an entry that starts another program', DUMP.replace('/opt/shadow/bin/shadow-runc', '/usr/bin/runc'), false],
    ['an entry that is not told of our annotations', DUMP.replace('"shadow.ms2m.io/*"', ''), false],
  ])('whose containerd has %s', async (_what, dump, configured) => {
    expect(await of({ ...GOOD, [ASK]: dump })).toHaveProperty('handlerConfigured', configured);
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
