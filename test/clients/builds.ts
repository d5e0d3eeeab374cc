/** The programs of the clients that are not Node.js, made once and cached: from the machine's package registries, never installed. */
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Recipe } from '../../scripts/playground/build/cache.ts';
import { installPackages } from '../../scripts/playground/build/debian.ts';
import { TOOLCHAIN } from '../../scripts/playground/build/go.ts';
import { goProgram, obtainPart } from '../../scripts/playground/build/parts.ts';
import { cacheDir } from '../../scripts/playground/layout.ts';
import { run } from '../../scripts/playground/run.ts';

const sourceOf = (path: string): string => join(import.meta.dirname, path);

/** Name, version and all files of `dir` that shape the result. */
const named = (name: string, version: string, dir: string, files: readonly string[], how = '') => ({
  name,
  version,
  recipe: JSON.stringify([how, ...files.map((file) => readFileSync(sourceOf(join(dir, file)), 'utf8'))]),
});

const say = (line: string): void => console.error(line);

const built = (recipe: Recipe): Promise<string> => obtainPart(recipe, say);

const GO = ['go.mod', 'go.sum', 'main.go'];

/** One static file, `worker`. */
export const goWorker = (): Promise<string> =>
  built({
    ...named('client-go', '1', 'go', GO),
    build: async ({ work, out, step }) => {
      for (const file of GO) copyFileSync(sourceOf(join('go', file)), join(work, file));
      const go = await goProgram(say);
      const flags = ['-trimpath', '-buildvcs=false', '-ldflags', '-s -w'];
      await step([go, 'build', ...flags, '-o', join(out, 'worker'), '.'], {
        env: { ...TOOLCHAIN, CGO_ENABLED: '0', GOFLAGS: '-mod=readonly' },
      });
    },
  });

const JAVA = ['pom.xml', 'Worker.java'];

/**
 * `app`: the class and the jars it needs; `runtime`: a Java of just the modules these use, so that an image needs nothing else.
 */
const JAVA_BUILD = `set -e
mvn -q -B dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$1/app"
javac --release 17 -Xlint:all,-path -Werror -cp "$1/app/*" -d "$1/app" Worker.java
modules=$(jdeps --multi-release 17 --ignore-missing-deps --print-module-deps --recursive --class-path "$1/app/*" "$1/app")
jlink --add-modules "$modules" --strip-java-debug-attributes --no-header-files --no-man-pages --output "$1/runtime"`;

/** A machine may have them from elsewhere. */
const ensureJdk = async (): Promise<void> => {
  const there = 'for program in mvn javac jdeps jlink; do command -v "$program" || exit 1; done';
  if ((await run(['sh', '-c', there])).code === 0) return;
  await installPackages(['default-jdk-headless', 'maven'], join(cacheDir(), 'apt.log'), say);
};

export const javaWorker = (): Promise<string> =>
  built({
    ...named('client-java', '1', 'java', JAVA, JAVA_BUILD),
    build: async ({ work, out, step }) => {
      for (const file of JAVA) copyFileSync(sourceOf(join('java', file)), join(work, file));
      await ensureJdk();
      await step(['sh', '-c', JAVA_BUILD, 'sh', out]);
    },
  });
