/** RabbitMQ 4.x: Debian's package of a newer suite with all it needs down to the C library, unpacked into a root of its own. */
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ShadowError } from '../../../webhook/api/errors.ts';
import type { Recipe } from './cache.ts';
import { openSuite } from './debian.ts';

const SUITE = 'trixie';
const VERSION = '4.0';

/** The broker, and what of Debian's essential packages its scripts call: no package depends on these. */
const WANTED: readonly string[] = [
  'base-files',
  'coreutils',
  'dash',
  'debianutils',
  'findutils',
  'grep',
  'hostname',
  'libc-bin',
  'rabbitmq-server',
  'sed',
  'util-linux',
];

/** What their install scripts, which are not run, would have left: directories, links, files. */
const DIRECTORIES: readonly string[] = ['dev', 'etc', 'proc', 'srv', 'tmp'];
const LINKS: Readonly<Record<string, string>> = {
  bin: 'usr/bin',
  lib: 'usr/lib',
  lib64: 'usr/lib64',
  sbin: 'usr/sbin',
  'usr/bin/sh': 'dash',
};
const FILES: Readonly<Record<string, string>> = {
  '/etc/hosts': '127.0.0.1 localhost\n',
  '/etc/nsswitch.conf': 'hosts: files dns\n',
  '/etc/passwd': 'root:x:0:0::/root:/bin/sh\n',
  '/etc/group': 'root:x:0:\n',
};

/** base-files first: it makes /bin, /lib and /sbin links into /usr. */
export const unpackOrder = (archives: readonly string[]): string[] =>
  archives.toSorted((a, b) => Number(b.startsWith('base-files_')) - Number(a.startsWith('base-files_')));

export const rabbitmq4 = (): Recipe => ({
  name: 'rabbitmq',
  version: VERSION,
  recipe: JSON.stringify([SUITE, WANTED, DIRECTORIES, LINKS, FILES]),
  build: async (shop) => {
    const { work, out, step } = shop;
    const status = join(work, 'status');
    writeFileSync(status, '');
    // With an empty list of what is installed apt resolves everything anew, and locks beside it instead of the machine's.
    const apt = [
      ...(await openSuite(SUITE, shop)),
      '-o',
      `Dir::State::status=${status}`,
      '-o',
      `Dir::State::extended_states=${join(work, 'extended')}`,
    ];
    await step([...apt, '-y', '--no-install-recommends', '--download-only', 'install', ...WANTED]);
    const archives = join(work, `apt-${SUITE}/cache/archives`);
    const packages = unpackOrder(readdirSync(archives).filter((name) => name.endsWith('.deb')));
    if (!packages.some((name) => name.startsWith(`rabbitmq-server_${VERSION}`)))
      throw new ShadowError('SHADOW_E_BUILD', `${SUITE} no longer has RabbitMQ ${VERSION}: ${packages.join(' ')}`);
    for (const name of packages) await step(['dpkg-deb', '-x', join(archives, name), out]);
    for (const path of DIRECTORIES) mkdirSync(join(out, path), { recursive: true });
    for (const [path, to] of Object.entries(LINKS)) if (!existsSync(join(out, path))) symlinkSync(to, join(out, path));
    for (const [path, text] of Object.entries(FILES)) writeFileSync(join(out, path), text);
  },
});
