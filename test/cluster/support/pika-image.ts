/** The machine's own Python with pika, as an image: a client that is not Node.js, and has no event loop. */
import { readdirSync, realpathSync } from 'node:fs';
import { join, relative } from 'node:path';
import { type BuiltImage, buildImage, type ImageEntry } from '../../../scripts/images/oci.ts';
import { librariesOf, programFiles, systemFiles } from '../../../scripts/images/ours.ts';
import { obtain } from '../../../scripts/playground/build/cache.ts';
import { cacheDir, LOGS } from '../../../scripts/playground/layout.ts';
import { must } from '../../../scripts/playground/run.ts';

export const PIKA_IMAGE = 'localhost/shadow-pika:dev';

const PYTHON = '/usr/bin/python3';
/** Debian's package, unpacked, never installed. */
const FETCH = `set -e
apt-get -q download python3-pika || { apt-get -q update; apt-get -q download python3-pika; }
dpkg -x python3-pika_*.deb unpacked
cp -r unpacked/usr/lib/python3/dist-packages/pika "$1/pika"`;

const SKIPPED =
  /(^|\/)(test|tests|idlelib|tkinter|ensurepip|lib2to3|turtledemo|__pycache__|site-packages|dist-packages|config-[^/]*)(\/|$)/;

const filesOf = (dir: string, to: string): ImageEntry[] =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(dir, join(entry.parentPath, entry.name)))
    .filter((path) => !SKIPPED.test(path))
    .map((path) => ({ path: join(to, path), file: join(dir, path) }));

export const pikaImage = async (): Promise<BuiltImage> => {
  const pika = await obtain(
    cacheDir(),
    { name: 'pika', version: '1', recipe: FETCH, build: ({ out, step }) => step(['sh', '-c', FETCH, 'sh', out]) },
    join(LOGS, 'pika.log'),
  );
  const stdlib = (await must([PYTHON, '-c', 'import sysconfig; print(sysconfig.get_path("stdlib"))'])).trim();
  const library = filesOf(stdlib, stdlib);
  const shared = library.map(({ file }) => file ?? '').filter((file) => file.endsWith('.so'));
  const linked = [...new Set(librariesOf(await must(['ldd', ...shared])))];
  return buildImage({
    name: PIKA_IMAGE,
    layers: [
      [
        ...(await programFiles(realpathSync(PYTHON), PYTHON)),
        ...linked.map((path): ImageEntry => ({ path, file: path, mode: 0o755 })),
        ...library,
        ...systemFiles(),
      ],
      filesOf(join(pika, 'pika'), '/app/pika'),
    ],
    config: {
      Entrypoint: [PYTHON],
      Env: ['PYTHONPATH=/app', 'PYTHONDONTWRITEBYTECODE=1', 'PYTHONUNBUFFERED=1'],
      WorkingDir: '/',
    },
  });
};
