/** An image for each client that is not Node.js: its programs, what they are linked to, and nothing else of a distribution. */
import { join } from 'node:path';
import { type BuiltImage, buildImage } from '../../scripts/images/oci.ts';
import { systemFiles } from '../../scripts/images/ours.ts';
import { filesOf, linkedTo, pikaImage as pythonImage } from '../../scripts/images/python.ts';
import { goWorker, javaWorker } from './builds.ts';

export const CLIENT_IMAGE = {
  pika: 'localhost/shadow-client-pika:dev',
  java: 'localhost/shadow-client-java:dev',
  go: 'localhost/shadow-client-go:dev',
} as const;

export const pikaImage = (): Promise<BuiltImage> =>
  pythonImage(CLIENT_IMAGE.pika, join(import.meta.dirname, 'pika/worker.py'));

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
