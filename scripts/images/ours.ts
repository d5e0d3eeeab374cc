/** The images of this repository. */
import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { basename, join } from 'node:path';
import { must } from '../playground/run.ts';
import { type BuiltImage, buildImage, type ImageEntry } from './oci.ts';

const REPOSITORY = join(import.meta.dirname, '../..');
const DIST = join(REPOSITORY, 'dist');
const NODE = join(REPOSITORY, 'node_modules/node/bin/node');

export const IMAGE = {
  pause: 'localhost/pause:1',
  shadow: 'localhost/kubectl-shadow:dev',
  examples: 'localhost/shadow-examples:dev',
} as const;

/** Shared libraries in the output of ldd, by the paths the loader looks for them. */
export const librariesOf = (ldd: string): string[] =>
  ldd
    .split('\n')
    .map((line) => /(?:=> )?(\/\S+) \(0x/.exec(line)?.[1])
    .filter((path) => path !== undefined);

/** A program and what it is linked to, at the paths of this machine unless said otherwise. */
export const programFiles = async (program: string, at = program): Promise<ImageEntry[]> => [
  { path: at, file: program, mode: 0o755 },
  ...librariesOf(await must(['ldd', program])).map((path) => ({ path, file: path, mode: 0o755 })),
];

const USERS = { root: 0, app: 1000, shadow: 64646, nobody: 65534 };

/** What every container needs of a system. hosts before DNS: hostAliases must win, as everywhere else. */
export const systemFiles = (): ImageEntry[] => [
  { path: '/tmp', mode: 0o1777 },
  {
    path: '/etc/passwd',
    text: Object.entries(USERS)
      .map(([name, id]) => `${name}:x:${id}:${id}::/:/bin/sh\n`)
      .join(''),
  },
  {
    path: '/etc/group',
    text: Object.entries(USERS)
      .map(([name, id]) => `${name}:x:${id}:\n`)
      .join(''),
  },
  { path: '/etc/nsswitch.conf', text: 'passwd: files\ngroup: files\nhosts: files dns\n' },
  { path: '/etc/ssl/openssl.cnf', text: '' },
  { path: '/etc/ssl/certs/ca-certificates.crt', file: '/etc/ssl/certs/ca-certificates.crt' },
];

/** Node.js; its own layer, the same in all images, so that a node stores it once. */
const nodeLayer = async (): Promise<ImageEntry[]> => [...(await programFiles(NODE, '/usr/bin/node')), ...systemFiles()];

const bundles = (dir: string, to: string): ImageEntry[] =>
  existsSync(dir)
    ? readdirSync(dir)
        .filter((name) => /\.[cm]js$/.test(name))
        .map((name) => ({ path: join(to, name), file: join(dir, name) }))
    : [];

/** The sandbox of every pod. */
export const pauseImage = (entry: string): Promise<BuiltImage> =>
  buildImage({
    name: IMAGE.pause,
    layers: [[{ path: '/pause', file: join(entry, 'pause'), mode: 0o755 }]],
    config: { Entrypoint: ['/pause'] },
  });

/** Whose bundles it is made of, where it is not this tree's as it is; and its name. */
export interface Edition {
  readonly repository: string;
  readonly name: string;
}

/**
 * Webhook, controller, sidecar and agent. The agent enters its node by nsenter and hands scripts to sh, so both are
 * here, and what nodes are given; nothing else of a distribution is. `criu`: the program.
 */
export const shadowImage = async (
  criu: string,
  { repository, name: image }: Edition = { repository: REPOSITORY, name: IMAGE.shadow },
): Promise<BuiltImage> => {
  const app: ImageEntry[] = [{ path: '/app' }, ...bundles(join(repository, 'dist'), '/app')];
  for (const name of ['shadow-runc', 'criu-gate'])
    app.push({ path: `/app/runtime/${name}`, file: join(repository, 'webhook/agent/runtime', name), mode: 0o755 });
  return buildImage({
    name: image,
    layers: [await nodeLayer(), await toolLayer(), await nodeTools({ criu, nft: '/usr/sbin/nft' }), app],
    config: { Entrypoint: ['/usr/bin/node'], WorkingDir: '/' },
  });
};

const toolLayer = async (): Promise<ImageEntry[]> => [
  ...(await programFiles('/usr/bin/nsenter')),
  ...(await programFiles('/bin/dash', '/bin/sh')),
];

/** Programs that nodes are given, with all they are linked to (webhook/agent/setup/tools.ts). */
const nodeTools = async (programs: Readonly<Record<string, string>>): Promise<ImageEntry[]> => {
  const paths = Object.entries(programs).map(([name, path]) => [name, realpathSync(path)] as const);
  const lists = await Promise.all(paths.map(async ([, path]) => librariesOf(await must(['ldd', path]))));
  const needed = [...new Set(lists.flat())].sort();
  const isLoader = (path: string): boolean => basename(path).startsWith('ld-linux');
  const loader = needed.find(isLoader);
  if (loader === undefined) throw new Error(`no loader among ${needed.join(' ')}`);
  return [
    { path: '/app/tools' },
    ...paths.map(([name, file]) => ({ path: `/app/tools/${name}`, file, mode: 0o755 })),
    { path: '/app/tools/ld.so', file: loader, mode: 0o755 },
    { path: '/app/tools/lib' },
    ...needed
      .filter((path) => !isLoader(path))
      .map((file) => ({ path: `/app/tools/lib/${basename(file)}`, file, mode: 0o755 })),
  ];
};

/** The example apps. */
export const examplesImage = async (): Promise<BuiltImage> =>
  buildImage({
    name: IMAGE.examples,
    layers: [await nodeLayer(), [{ path: '/app/examples' }, ...bundles(join(DIST, 'examples'), '/app/examples')]],
    config: { Entrypoint: ['/usr/bin/node'], WorkingDir: '/' },
  });
