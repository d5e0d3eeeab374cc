/** The real krew and what its index checks plugins with, built once and cached; and a root of its own for them to work in. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Recipe } from '../../../scripts/playground/build/cache.ts';
import { TOOLCHAIN } from '../../../scripts/playground/build/go.ts';
import { goProgram, obtainPart } from '../../../scripts/playground/build/parts.ts';
import { recipes } from '../../../scripts/playground/build/recipes.ts';
import { type Ran, run } from '../../../scripts/playground/run.ts';

const VERSION = '0.5.0';
/** A module of its own: by `go install …@v0.5.0` krew is not to be had from a proxy that lists no versions of it. */
const GO_MOD = `module krew\n\ngo 1.25\n\nrequire sigs.k8s.io/krew v${VERSION}\n`;
const COMMANDS = ['krew', 'validate-krew-manifest'].map((name) => `sigs.k8s.io/krew/cmd/${name}`);
/** Go's linker signs what it links for macOS on arm64: what our own signature is held against. */
const SAMPLE = 'package main\n\nfunc main() { println("signed by the linker") }\n';

const say = (line: string): void => console.error(line);

/** `krew`, `validate-krew-manifest`, and `sample`, a signed Mach-O executable of arm64. */
const krewRecipe = (): Recipe => ({
  name: 'krew',
  version: VERSION,
  recipe: JSON.stringify([GO_MOD, COMMANDS, SAMPLE]),
  build: async ({ work, out, step }) => {
    const go = await goProgram(say);
    writeFileSync(join(work, 'go.mod'), GO_MOD);
    mkdirSync(join(work, 'sample'));
    writeFileSync(join(work, 'sample/main.go'), SAMPLE);
    const env = { ...TOOLCHAIN, CGO_ENABLED: '0', GOFLAGS: '-mod=mod' };
    const flags = ['-trimpath', '-buildvcs=false', '-ldflags', '-s -w'];
    await step([go, 'build', ...flags, '-o', `${out}/`, ...COMMANDS], { env });
    const darwin = { ...env, GOOS: 'darwin', GOARCH: 'arm64' };
    await step([go, 'build', ...flags, '-o', join(out, 'sample'), './sample'], { env: darwin });
  },
});

export const krewTools = (): Promise<string> => obtainPart(krewRecipe(), say);

/** The playground's. */
export const kubectlProgram = async (): Promise<string> => {
  const kubernetes = recipes('go').find(({ name }) => name === 'kubernetes');
  if (!kubernetes) throw new Error('the playground has no Kubernetes');
  return join(await obtainPart(kubernetes, say), 'kubectl');
};

export interface Krew {
  readonly dir: string;
  /** Where krew links plugins to. */
  readonly bin: string;
  /** kubectl with krew and its plugins on the PATH, no kubeconfig and nothing of the user's. */
  kubectl(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Ran>;
  validate(manifest: string, archives: string): Promise<Ran>;
  remove(): void;
}

/**
 * The validator installs by `kubectl krew install` what it downloads from the addresses in the manifest; this kubectl, which it
 * alone finds, has the archive that is to be downloaded taken from a directory.
 */
const offlineKubectl = (kubectl: string, archives: string): string => `#!/bin/sh
exec ${kubectl} "$@" --archive="$(echo ${archives}/kubectl-shadow-"$KREW_OS-$KREW_ARCH".*)"
`;

export const openKrew = async (): Promise<Krew> => {
  const [tools, kubectl] = [await krewTools(), await kubectlProgram()];
  const dir = mkdtempSync(join(tmpdir(), 'krew-'));
  const [programs, root] = [join(dir, 'programs'), join(dir, 'root')];
  const bin = join(root, 'bin');
  mkdirSync(programs);
  symlinkSync(kubectl, join(programs, 'kubectl'));
  symlinkSync(join(tools, 'krew'), join(programs, 'kubectl-krew'));
  // `krew uninstall` asks for an index, and takes any repository for one.
  mkdirSync(join(root, 'index/default/.git'), { recursive: true });
  const environment = {
    HOME: dir,
    KREW_ROOT: root,
    KREW_NO_UPGRADE_CHECK: '1',
    KUBECONFIG: join(dir, 'none'),
    PATH: [bin, programs, '/usr/bin', '/bin'].join(':'),
  };
  return {
    dir,
    bin,
    kubectl: (args, env = {}) => run([kubectl, ...args], { env: { ...environment, ...env } }),
    validate: (manifest, archives) => {
      const offline = mkdtempSync(join(dir, 'offline-'));
      writeFileSync(join(offline, 'kubectl'), offlineKubectl(kubectl, archives), { mode: 0o755 });
      const PATH = `${offline}:${environment.PATH}`;
      return run([join(tools, 'validate-krew-manifest'), '-manifest', manifest], { env: { ...environment, PATH } });
    },
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
};
