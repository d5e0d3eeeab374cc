/** An image for each client that is not Node.js: its programs, what they are linked to, and nothing else of a distribution. */
import { readdirSync, realpathSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { type BuiltImage, buildImage, type ImageEntry } from '../../scripts/images/oci.ts';
import { librariesOf, programFiles, systemFiles } from '../../scripts/images/ours.ts';
import { must } from '../../scripts/playground/run.ts';
import { goWorker, javaWorker, PYTHON, pikaPackage, pythonLibrary } from './builds.ts';

export const CLIENT_IMAGE = {
  pika: 'localhost/shadow-client-pika:dev',
  java: 'localhost/shadow-client-java:dev',
  go: 'localhost/shadow-client-go:dev',
} as const;

const SKIPPED =
  /(^|\/)(test|tests|idlelib|tkinter|ensurepip|lib2to3|turtledemo|__pycache__|site-packages|dist-packages|config-[^/]*)(\/|$)/;

/** All files below `dir`, links followed, with the modes they have. */
const filesOf = (dir: string, to: string, skipped?: RegExp): ImageEntry[] =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(dir, join(entry.parentPath, entry.name)))
    .filter((path) => !skipped?.test(path))
    .map((path) => ({ path: join(to, path), file: join(dir, path), mode: statSync(join(dir, path)).mode & 0o755 }));

/** What the shared objects among `files` are linked to outside of `dir`. */
const linkedTo = async (files: readonly ImageEntry[], dir: string): Promise<ImageEntry[]> => {
  const shared = files.map(({ file = '' }) => file).filter((file) => /\.so(\.|$)/.test(file));
  const libraries = new Set(librariesOf(await must(['ldd', ...shared])));
  return [...libraries]
    .filter((path) => !path.startsWith(`${dir}/`))
    .map((path) => ({ path, file: path, mode: 0o755 }));
};

export const pikaImage = async (): Promise<BuiltImage> => {
  const pika = await pikaPackage();
  const stdlib = await pythonLibrary();
  const library = filesOf(stdlib, stdlib, SKIPPED);
  const python = [
    ...(await programFiles(realpathSync(PYTHON), PYTHON)),
    ...(await linkedTo(library, stdlib)),
    ...library,
    ...systemFiles(),
  ];
  const worker = { path: '/app/worker.py', file: join(import.meta.dirname, 'pika/worker.py') };
  return buildImage({
    name: CLIENT_IMAGE.pika,
    layers: [python, [...filesOf(join(pika, 'pika'), '/app/pika', SKIPPED), worker]],
    config: {
      Entrypoint: [PYTHON, '/app/worker.py'],
      Env: ['PYTHONPATH=/app', 'PYTHONDONTWRITEBYTECODE=1', 'PYTHONUNBUFFERED=1'],
      WorkingDir: '/',
    },
  });
};

export const goImage = async (): Promise<BuiltImage> =>
  buildImage({
    name: CLIENT_IMAGE.go,
    layers: [[{ path: '/worker', file: join(await goWorker(), 'worker'), mode: 0o755 }, ...systemFiles()]],
    config: { Entrypoint: ['/worker'], WorkingDir: '/' },
  });

export const javaImage = async (): Promise<BuiltImage> => {
  const entry = await javaWorker();
  const runtime = join(entry, 'runtime');
  const java = filesOf(runtime, '/opt/java');
  return buildImage({
    name: CLIENT_IMAGE.java,
    layers: [[...java, ...(await linkedTo(java, runtime)), ...systemFiles()], filesOf(join(entry, 'app'), '/app')],
    config: { Entrypoint: ['/opt/java/bin/java'], WorkingDir: '/' },
  });
};
