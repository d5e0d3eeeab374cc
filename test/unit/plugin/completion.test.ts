import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { completion } from '../../../plugin/completion/command.ts';
import { complete, printed } from '../../../plugin/completion/complete.ts';
import { definition } from '../../../plugin/completion/definition.ts';
import { KUBECTL_FILE, KUBECTL_SCRIPT, SCRIPT } from '../../../plugin/completion/scripts.ts';
import { wanted } from '../../../plugin/completion/words.ts';
import type { Io } from '../../../plugin/io.ts';

const root = new URL('../../../', import.meta.url);
const all = definition();

/** What is asked for at the end of a line, as words with a space between; the last may be empty. */
const at = (line: string) => wanted(all, line.split(' '));
const values = (line: string): string[] =>
  printed(at(line), [])
    .split('\n')
    .map((each) => each.replace(/\t.*/, ''));

describe('an unfinished line', () => {
  test('every command is told to yargs with a description, and is found', () => {
    const names = ['install', 'uninstall', 'migrate', 'status', 'list', 'abort', 'version', 'completion'];
    expect(all.commands.map(({ name }) => name)).toEqual(expect.arrayContaining(names));
    for (const { describe: said } of all.commands) expect(said).not.toBe('');
  });
  test('every argument of a command is completed', () => {
    for (const { name, positionals } of all.commands) {
      if (positionals.length === 0) continue;
      const { candidates, source } = at(`${name} `);
      expect([name, candidates.length > 0 || source !== undefined]).toEqual([name, true]);
    }
  });
  test.each([
    ['mig', ['migrate', ':4']],
    ['-n shop mig', ['migrate', ':4']],
    ['--kubeconfig list mig', ['migrate', ':4']],
    ['migrate --strategy Shadow', ['ShadowPodSwap', 'ShadowPod', ':4']],
    ['migrate x --strategy=Stop', ['StopAndCopy', ':4']],
    ['migrate x --no-w', ['--no-wait', ':4']],
    ['migrate --no-wait --wa', [':4']],
    ['list --dry', [':4']],
    ['install --dry', ['--dry-run', ':4']],
    ['ls -A --all', [':4']],
    ['completion f', ['fish', ':4']],
    ['completion bash f', [':4']],
    ['nosuch ', [...all.commands.map(({ name }) => name), ':4']],
    ['migrate --strategy', ['--strategy', ':4']],
    ['list --kubeconfig ', [':0']],
    ['completion kubectl --dir ', [':16']],
    ['list --kubeconfig=x', [':0']],
    ['migrate -- -', [':4']],
  ])('%s', (line, expected) => expect(values(line)).toEqual(expected));

  test.each([
    ['migrate ', 'pods'],
    ['migrate --wait ', 'pods'],
    ['migrate --to node-1 ', 'pods'],
    ['migrate -- ', 'pods'],
    ['migrate x ', 'pods'],
    ['report ', 'migrations'],
    ['report x ', undefined],
    ['migrate x --to ', 'nodes'],
    ['abort ', 'migrations'],
    ['list -n ', 'namespaces'],
    ['list -n', undefined],
    ['--context ', 'contexts'],
    ['list ', undefined],
  ])('%s asks for %s', (line, source) => expect(at(line).source).toBe(source));

  test('is asked of the cluster that its flags name', () => {
    expect(at('migrate -n shop --context=east --as-group a --no-wait ').given).toEqual({
      namespace: 'shop',
      context: 'east',
      'as-group': 'a',
      wait: 'true',
    });
  });
});

let lines: string[];
const io: Io = {
  out: (text) => lines.push(...text.split('\n')),
  err: (text) => lines.push(text),
  live: false,
  color: false,
  unicode: false,
};
beforeEach(() => {
  lines = [];
});
afterEach(() => vi.unstubAllEnvs());

describe('with a cluster', () => {
  let server: Server;
  let dir: string;
  /** By path. What is not there is never answered. */
  let answers: Record<string, unknown>;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'completion-'));
    server = createServer(({ url = '' }, response) => {
      const items = answers[url.replace(/\?.*/, '')];
      if (items) response.end(JSON.stringify({ metadata: {}, items }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const config = {
      // The client library speaks plain HTTP only where TLS is not to be verified.
      clusters: [{ name: 'c', cluster: { server: `http://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true } }],
      users: [{ name: 'u', user: {} }],
      contexts: [
        { name: 'east', context: { cluster: 'c', user: 'u', namespace: 'shop' } },
        { name: 'west', context: { cluster: 'c', user: 'u' } },
      ],
      'current-context': 'east',
    };
    writeFileSync(join(dir, 'config'), JSON.stringify(config));
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
    rmSync(dir, { recursive: true });
  });
  beforeEach(() => {
    answers = {};
    vi.stubEnv('KUBECONFIG', join(dir, 'config'));
  });

  const tab = async (line: string, limitMs = 30_000): Promise<string[]> => {
    await complete(line.split(' '), io, limitMs);
    return lines;
  };
  const pod = (name: string, labels = {}) => ({ metadata: { name, labels }, spec: { nodeName: 'node-1' } });

  test('pods are those of the namespace, and it is told which cannot be moved', async () => {
    answers['/api/v1/namespaces/shop/pods'] = [
      pod('web-0', { 'shadow.ms2m.io/injected': 'true' }),
      pod('web-1'),
      pod('db-0'),
    ];
    expect(await tab('migrate w')).toEqual(['web-0\tnode-1', 'web-1\tnode-1, no sidecar', ':4']);
  });
  test('pods keep the kind that was typed before them, in the namespace that was given', async () => {
    answers['/api/v1/namespaces/other/pods'] = [pod('web-0')];
    expect(await tab('migrate -n other pod/')).toEqual(['pod/web-0\tnode-1, no sidecar', ':4']);
  });
  test('nodes, namespaces', async () => {
    answers['/api/v1/nodes'] = [pod('node-1')];
    answers['/api/v1/namespaces'] = [pod('shop')];
    expect(await tab('migrate x --to=n')).toEqual(['node-1', ':4']);
    lines = [];
    expect(await tab('list -n ')).toEqual(['shop', ':4']);
  });
  test('migrations, or the pods they moved, each once', async () => {
    answers['/apis/migration.ms2m.io/v1alpha1/namespaces/shop/statefulmigrations'] = ['m-1', 'm-2'].map((name) => ({
      metadata: { name },
      spec: { sourcePod: 'web-0' },
      status: { phase: 'Completed' },
    }));
    expect(await tab('abort m')).toEqual(['m-1\tweb-0, Completed', 'm-2\tweb-0, Completed', ':4']);
    lines = [];
    expect(await tab('status pod/')).toEqual(['pod/web-0', ':4']);
  });
  test('contexts are those of the kubeconfig', async () => {
    expect(await tab('list --context w')).toEqual(['west', ':4']);
  });
  test('one that does not answer, or is not there, is not waited for and not complained of', async () => {
    expect(await tab('migrate ', 50)).toEqual([':4']);
    lines = [];
    vi.stubEnv('KUBECONFIG', join(dir, 'none'));
    expect(await tab('migrate ')).toEqual([':4']);
  });
});

describe('the script of bash', () => {
  /** What a Tab at the end of the line offers, by the plugin itself. */
  const tab = (line: string): string[] => {
    const plugin = fileURLToPath(new URL('plugin/bin/kubectl-shadow', root));
    const typed = `${plugin} ${line}`;
    const script = `${SCRIPT.bash}\nCOMP_LINE=$1 COMP_POINT=\${#1}\n_kubectl_shadow\nprintf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = spawnSync('bash', ['-c', script, 'bash', typed], { encoding: 'utf8' });
    expect(stderr).toBe('');
    return stdout.split('\n').slice(0, -1);
  };
  test('offers what the plugin says, without descriptions', () => {
    expect(tab('mig')).toEqual(['migrate']);
    expect(tab('migrate --strategy=Sh')).toEqual(['ShadowPodSwap', 'ShadowPod']);
    expect(tab('completion ')).toEqual(['kubectl', 'bash', 'zsh', 'fish']);
    expect(tab('migrate --nosuch')).toEqual(['']);
  });
});

describe('kubectl shadow completion', () => {
  let dir: string;
  const run = (shell: 'kubectl' | 'bash', to?: string) => completion({ shell, dir: to, requestTimeout: '30s' }, io);
  const usage = expect.objectContaining({ code: 'SHADOW_E_USAGE' });
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'completion-'));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  test('kubectl: puts the file beside the plugin, in the place of an older one, and nothing else', async () => {
    writeFileSync(join(dir, 'kubectl-shadow'), '');
    writeFileSync(join(dir, KUBECTL_FILE), 'older');
    vi.stubEnv('PATH', `/nowhere:${dir}`);
    await run('kubectl');
    expect(lines).toEqual([`${join(dir, KUBECTL_FILE)} configured`]);
    expect(readFileSync(join(dir, KUBECTL_FILE), 'utf8')).toBe(KUBECTL_SCRIPT);
    expect(statSync(join(dir, KUBECTL_FILE)).mode & 0o777).toBe(0o755);
    expect(readdirSync(dir).sort()).toEqual(['kubectl-shadow', KUBECTL_FILE].sort());
  });
  test('kubectl: says that a directory is not on the PATH', async () => {
    await run('kubectl', dir);
    expect(lines).toEqual([`${join(dir, KUBECTL_FILE)} created`, expect.stringContaining('not on the PATH')]);
  });
  test('kubectl: no directory is a usage error', async () => {
    vi.stubEnv('PATH', dir);
    await expect(run('kubectl')).rejects.toEqual(usage);
    await expect(run('kubectl', join(dir, 'none'))).rejects.toEqual(usage);
    await expect(run('bash', dir)).rejects.toEqual(usage);
  });
  test('plugin/bin has what it writes', () => {
    expect(readFileSync(new URL('plugin/bin/kubectl_complete-shadow', root), 'utf8')).toBe(KUBECTL_SCRIPT);
  });
});
