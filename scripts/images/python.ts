/** Images of Python programs that speak AMQP by pika: the machine's own Python, Debian's pika, and nothing else of a distribution. */
import { readdirSync, realpathSync, statSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { obtainPart } from '../playground/build/parts.ts';
import { must } from '../playground/run.ts';
import { type BuiltImage, buildImage, type ImageEntry } from './oci.ts';
import { librariesOf, programFiles, systemFiles } from './ours.ts';

const SKIPPED =
  /(^|\/)(test|tests|idlelib|tkinter|ensurepip|lib2to3|turtledemo|__pycache__|site-packages|dist-packages|config-[^/]*)(\/|$)/;

/** All files below `dir`, links followed, with the modes they have. */
export const filesOf = (dir: string, to: string, skipped?: RegExp): ImageEntry[] =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(dir, join(entry.parentPath, entry.name)))
    .filter((path) => !skipped?.test(path))
    .map((path) => ({ path: join(to, path), file: join(dir, path), mode: statSync(join(dir, path)).mode & 0o755 }));

/** What the shared objects among `files` are linked to outside of `dir`. */
export const linkedTo = async (files: readonly ImageEntry[], dir: string): Promise<ImageEntry[]> => {
  const shared = files.map(({ file = '' }) => file).filter((file) => /\.so(\.|$)/.test(file));
  const libraries = new Set(librariesOf(await must(['ldd', ...shared])));
  return [...libraries]
    .filter((path) => !path.startsWith(`${dir}/`))
    .map((path) => ({ path, file: path, mode: 0o755 }));
};

const PIKA_FETCH = `set -e
apt-get -q download python3-pika || { apt-get -q update; apt-get -q download python3-pika; }
dpkg -x python3-pika_*.deb unpacked
cp -r unpacked/usr/lib/python3/dist-packages/pika "$1/pika"`;

/** Debian's package, unpacked: the directory that holds `pika`. */
export const pikaPackage = (): Promise<string> =>
  obtainPart(
    {
      name: 'pika',
      version: '1',
      recipe: PIKA_FETCH,
      build: ({ out, step }) => step(['sh', '-c', PIKA_FETCH, 'sh', out]),
    },
    (line) => console.error(line),
  );

/** The machine's own, as Debian has it. */
export const PYTHON = '/usr/bin/python3';

const pythonLibrary = async (): Promise<string> =>
  (await must([PYTHON, '-c', 'import sysconfig; print(sysconfig.get_path("stdlib"))'])).trim();

/** Runs `script`, which finds pika. */
export const pikaImage = async (name: string, script: string): Promise<BuiltImage> => {
  const pika = await pikaPackage();
  const stdlib = await pythonLibrary();
  const library = filesOf(stdlib, stdlib, SKIPPED);
  const python = [
    ...(await programFiles(realpathSync(PYTHON), PYTHON)),
    ...(await linkedTo(library, stdlib)),
    ...library,
    ...systemFiles(),
  ];
  const program = `/app/${basename(script)}`;
  return buildImage({
    name,
    layers: [python, [...filesOf(join(pika, 'pika'), '/app/pika', SKIPPED), { path: program, file: script }]],
    config: {
      Entrypoint: [PYTHON, program],
      Env: ['PYTHONPATH=/app', 'PYTHONDONTWRITEBYTECODE=1', 'PYTHONUNBUFFERED=1'],
      WorkingDir: '/',
    },
  });
};
