/** Node set-up: containerd's configuration as text, and the whole way on a stand-in node, a directory with scripts for programs. */
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { afterEach, describe, expect, test } from 'vitest';
import { LAYOUT, type Node, nodeOf } from '../../../webhook/agent/node.ts';
import {
  DROP_IN,
  DROP_INS,
  dropInOf,
  HANDLER,
  hasHandler,
  versionOf,
  withImport,
  withoutImport,
} from '../../../webhook/agent/setup/config.ts';
import { configIn } from '../../../webhook/agent/setup/containerd.ts';
import { type Setup, setUp, takeDown } from '../../../webhook/agent/setup/setup.ts';

describe("containerd's configuration", () => {
  const owned = '# ours\nversion = 3\n[grpc]\n  address = "/x" # keep\n';
  test.each([
    ['', owned],
    ['a list', `version = 2\nimports = ["/a.toml"]\n[grpc]\n  uid = 0\n`],
    ['a list over several lines', `imports = [\n  "/a.toml", # why\n  "/b.toml",\n]\nversion = 3\n`],
    ['an empty list', 'version = 3\nimports = []\n'],
    ['a table of that name further down', 'version = 3\n[plugins.x]\n  imports = ["no"]\n'],
    ['nothing at all', ''],
  ])('our directory is imported, all else stays, and it can be taken back: %s', (_, text) => {
    const changed = withImport(text);
    const { imports: before = [], ...rest } = parse(text);
    const { imports: after, ...kept } = parse(changed);
    expect(after).toEqual(expect.arrayContaining([...(before as string[]), DROP_INS]));
    expect(kept).toEqual(rest);
    for (const line of text.split('\n')) if (!line.includes('imports')) expect(changed).toContain(line);
    expect(withImport(changed)).toBe(changed);
    expect(withoutImport(changed)).toBe(text);
  });

  test('what is not TOML is refused, and says so', () => {
    expect(() => withImport('version = \n')).toThrow(/SHADOW|not TOML/);
    expect(() => versionOf('[')).toThrow('not TOML');
  });

  test.each([
    [2, 'io.containerd.grpc.v1.cri'],
    [3, 'io.containerd.cri.v1.runtime'],
    [4, 'io.containerd.cri.v1.runtime'],
  ])('a drop-in for version %i names the plugin as it does, and has a version that may be imported', (version, cri) => {
    const dump = (systemd: boolean): string =>
      `[plugins.'${cri}'.containerd]\ndefault_runtime_name = "crun"\n[plugins.'${cri}'.containerd.runtimes.crun.options]\nSystemdCgroup = ${systemd}\n`;
    const text = dropInOf(dump(true), version);
    expect(hasHandler(text)).toBe(true);
    expect(parse(text).version).toBeLessThanOrEqual(version);
    expect(text).toContain('SystemdCgroup = true');
    expect(dropInOf(dump(false), version)).toContain('SystemdCgroup = false');
    expect(text).toContain(cri);
  });

  test('a runtime of that name that is not ours, or hears no annotations, is not the handler', () => {
    const ours = dropInOf('', 3);
    expect(hasHandler('version = 3\n')).toBe(false);
    expect(hasHandler(ours.replace(HANDLER, '/usr/bin/other'))).toBe(false);
    expect(hasHandler(ours.replace('"shadow.ms2m.io/*"', ''))).toBe(false);
  });

  test('which configuration runs is told by the command line', () => {
    expect(configIn(['containerd'])).toBe('/etc/containerd/config.toml');
    expect(configIn(['containerd', '--config', '/a', 'x'])).toBe('/a');
    expect(configIn(['containerd', '-c=/b'])).toBe('/b');
  });
});

/**
 * A node: its containerd is an entry in /proc that systemctl makes anew; `config dump` prints what the files make it. Where a file
 * /picky is there, it does not come up with a drop-in.
 */
class StandIn {
  readonly root = mkdtempSync(join(tmpdir(), 'shadow-node-'));
  readonly node: Node;
  readonly tools = join(this.root, 'image');
  private readonly server = net.createServer((socket) => socket.destroy());

  constructor(config: string | undefined) {
    const { root } = this;
    const bin = this.at('usr/bin');
    for (const dir of [
      bin,
      this.at('proc/1/ns'),
      this.at('run/containerd'),
      this.at('etc/containerd'),
      join(this.tools, 'lib'),
    ])
      mkdirSync(dir, { recursive: true });
    symlinkSync('mnt:[1]', this.at('proc/1/ns/mnt'));
    if (config !== undefined) this.put('/etc/containerd/config.toml', config);
    for (const file of ['criu', 'nft', 'ld.so', 'lib/libc.so']) writeFileSync(join(this.tools, file), file);
    const script = (name: string, ...lines: string[]): void => {
      writeFileSync(join(bin, name), ['#!/bin/sh', `cd ${root}`, ...lines, ''].join('\n'));
      chmodSync(join(bin, name), 0o755);
    };
    script(
      'containerd',
      'cat etc/containerd/config.toml 2>/dev/null',
      `! grep -q conf.d etc/containerd/config.toml 2>/dev/null || sed /^version/d .${DROP_IN} 2>/dev/null`,
    );
    script(
      'systemctl',
      '[ "$1" = restart ] || exec test -e active',
      'echo restarted >>restarts',
      'pid=$(cat pid); rm -rf "proc/$pid"',
      `[ ! -e picky ] || [ ! -e .${DROP_IN} ] || exit 1`,
      'pid=$((pid + 1)); echo "$pid" >pid; cp -r template "proc/$pid"',
    );
    script('ctr', "echo 'io.containerd.cri.v1 runtime - ok'");
    for (const file of ['active', 'restarts']) this.put(file, '');
    mkdirSync(this.at('proc/0/ns'), { recursive: true });
    this.put('proc/0/cmdline', 'containerd\0--config\0/etc/containerd/config.toml\0');
    symlinkSync(join(bin, 'containerd'), this.at('proc/0/exe'));
    symlinkSync('mnt:[1]', this.at('proc/0/ns/mnt'));
    this.put('pid', '100');
    cpSync(this.at('proc/0'), this.at('proc/100'), { recursive: true, verbatimSymlinks: true });
    for (const pid of [0, 100]) this.put(`proc/${pid}/comm`, 'containerd\n');
    renameSync(this.at('proc/0'), this.at('template'));
    this.node = nodeOf('n', { ...LAYOUT, root, proc: this.at('proc') }, [], `${bin}:/usr/bin:/bin`);
  }

  get setup(): Setup {
    const log = { info: () => undefined, warn: () => undefined } as unknown as Setup['log'];
    return { node: this.node, tools: this.tools, steadyMs: 50, log };
  }

  async boot(): Promise<void> {
    this.server.listen(this.at('run/containerd/containerd.sock'));
    await once(this.server, 'listening');
  }

  end(): void {
    this.server.close();
    rmSync(this.root, { recursive: true, force: true });
  }

  at(path: string): string {
    return join(this.root, path);
  }

  put(path: string, text: string): void {
    writeFileSync(this.at(path), text);
  }

  read(path: string): string | undefined {
    return existsSync(this.at(path)) ? readFileSync(this.at(path), 'utf8') : undefined;
  }

  get restarts(): number {
    return (this.read('restarts') ?? '').split('\n').length - 1;
  }

  /** All that set-up may change. */
  get files(): Record<string, string | undefined> {
    return Object.fromEntries(
      ['/etc/containerd/config.toml', DROP_IN, '/etc/criu/runc.conf', '/opt/shadow/bin/criu'].map((path) => [
        path,
        this.read(path),
      ]),
    );
  }
}

describe('a node that has nothing of ours', () => {
  const OWNED = '# ours\nversion = 3\n[grpc]\n  uid = 0\n';
  let stand: StandIn;
  const begin = async (config?: string): Promise<StandIn> => {
    stand = new StandIn(config);
    await stand.boot();
    return stand;
  };
  afterEach(() => stand.end());

  test.each([
    ['with a configuration', OWNED],
    ['without one', undefined],
  ])('%s: is given CRIU and the handler, once, and has none of it after the removal', async (_, config) => {
    const { setup, files: before } = await begin(config);
    await setUp(setup);
    expect(hasHandler(await setup.node.run('containerd', ['config', 'dump']))).toBe(true);
    expect(stand.read('/opt/shadow/bin/criu')).toMatch(/ld\.so .*--library-path .*criu "\$@"/);
    expect(stand.restarts).toBe(1);
    await setUp(setup);
    expect(stand.restarts).toBe(1);
    await takeDown(setup);
    expect(stand.files).toEqual(before);
    expect(stand.restarts).toBe(2);
    await takeDown(setup);
    expect(stand.restarts).toBe(2);
  });

  test('what is mounted on our directories stays mounted, and is emptied', async () => {
    const { setup } = await begin(OWNED);
    await setUp(setup);
    stand.put('proc/1/mountinfo', '61 29 8:1 / /var/lib/shadow rw,relatime shared:1 - ext4 /dev/sdb rw\n');
    stand.put('/var/lib/shadow/left', 'x');
    await takeDown(setup);
    expect(existsSync(stand.at('/opt/shadow'))).toBe(false);
    expect(readdirSync(stand.at('/var/lib/shadow'))).toEqual([]);
  });

  test('containerd does not come up with the handler: all is put back, it runs as before, and the error says so', async () => {
    const { setup } = await begin(OWNED);
    stand.put('picky', '');
    await expect(setUp(setup)).rejects.toMatchObject({
      code: 'SHADOW_E_NODE_SETUP',
      message: expect.stringMatching(/does not start/),
    });
    expect(stand.read(DROP_IN)).toBeUndefined();
    expect(stand.read('/etc/containerd/config.toml')).toBe(OWNED);
    expect(stand.read(`proc/${stand.read('pid')?.trim()}/comm`)).toBe('containerd\n');
    rmSync(stand.at('picky'));
    await setUp(setup);
    expect(stand.read(DROP_IN)).toContain(HANDLER);
  });

  test('killed between the files and the restart, the next run starts containerd anew', async () => {
    const { setup } = await begin(OWNED);
    await setUp(setup);
    stand.put('/var/lib/shadow/containerd-restart-pending', '');
    await setUp(setup);
    expect(stand.restarts).toBe(2);
  });

  test('nothing of containerd is touched where systemd does not run it, or a distribution writes its configuration', async () => {
    const { setup } = await begin(OWNED);
    rmSync(stand.at('active'));
    await expect(setUp(setup)).rejects.toThrow('systemd does not run containerd.service');
    stand.put('active', '');
    stand.put('proc/100/cmdline', 'containerd\0-c\0/var/lib/rancher/k3s/agent/etc/containerd/config.toml\0');
    await expect(setUp(setup)).rejects.toThrow('written anew at each start');
    expect(stand.read(DROP_IN)).toBeUndefined();
    expect(stand.restarts).toBe(0);
  });

  test("a container's containerd is not the node's", async () => {
    const { setup } = await begin(OWNED);
    rmSync(stand.at('proc/100/ns/mnt'));
    symlinkSync('mnt:[2]', stand.at('proc/100/ns/mnt'));
    await expect(setUp(setup)).rejects.toThrow('no containerd runs on the node');
  });
});
