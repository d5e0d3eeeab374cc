/** Bundles each entry of the repository: dist/<part>.cjs, dist/examples/<name>.cjs. */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type BuildFailure, type BuildOptions, build } from 'esbuild';

const REPOSITORY = join(import.meta.dirname, '..');
const DIST = join(REPOSITORY, 'dist');
/** Apps: the examples, the evaluation's, those of the cluster tests, and the workers of the client matrix. */
const APPS: readonly string[] = ['manifests/examples', 'scripts/eval/apps', 'test/cluster/apps', 'test/clients'];

const PARTS: Readonly<Record<string, string>> = {
  webhook: 'webhook/admission/main.ts',
  controller: 'webhook/controller/main.ts',
  sidecar: 'webhook/sidecar/main.ts',
  agent: 'webhook/agent/main.ts',
  setup: 'webhook/agent/setup/main.ts',
};

/** `manifests/examples/<name>/main.ts` becomes `examples/<name>`. */
const appEntries = (): Record<string, string> =>
  Object.fromEntries(
    APPS.filter((dir) => existsSync(join(REPOSITORY, dir)))
      .flatMap((dir) =>
        readdirSync(join(REPOSITORY, dir)).map((name) => [`examples/${name}`, `${dir}/${name}/main.ts`] as const),
      )
      .filter(([, path]) => existsSync(join(REPOSITORY, path))),
  );

const COMMON: BuildOptions = {
  absWorkingDir: REPOSITORY,
  bundle: true,
  platform: 'node',
  target: 'node26',
  logLevel: 'silent',
};

const isBuildFailure = (error: unknown): error is BuildFailure =>
  error instanceof Error && Array.isArray((error as Partial<BuildFailure>).errors);

const needsModule = (error: unknown): boolean =>
  isBuildFailure(error) && error.errors.every(({ text }) => text.startsWith('Top-level await'));

/** CommonJS; an entry with top-level await becomes a module beside a one-line .cjs that loads it. */
const bundleOne = async (name: string, path: string): Promise<void> => {
  const out = join(DIST, name);
  try {
    await build({
      ...COMMON,
      entryPoints: [path],
      outfile: `${out}.cjs`,
      format: 'cjs',
      // A CommonJS bundle has no import.meta; what asks for its own place gets the bundle's.
      define: { 'import.meta.dirname': '__dirname', 'import.meta.filename': '__filename' },
    });
  } catch (error) {
    if (!needsModule(error)) throw error;
    await build({
      ...COMMON,
      entryPoints: [path],
      outfile: `${out}.mjs`,
      format: 'esm',
      // Dependencies in CommonJS go on calling require for Node's own modules.
      banner: {
        js: "import { createRequire as __createRequire } from 'node:module';const require = __createRequire(import.meta.url);",
      },
    });
    mkdirSync(dirname(out), { recursive: true });
    writeFileSync(`${out}.cjs`, `import('./${basename(out)}.mjs');\n`);
  }
};

export interface Bundled {
  /** Entries that are not there. */
  readonly missing: readonly string[];
  /** Entries that do not bundle, with the first error. */
  readonly failed: readonly string[];
}

const firstError = (error: unknown): string => {
  if (!isBuildFailure(error)) return String(error);
  const [first] = error.errors;
  return first === undefined
    ? error.message
    : `${first.location?.file ?? ''}:${first.location?.line ?? 0}: ${first.text}`;
};

/** All but a release, and one that is being made. */
const emptyDist = (): void => {
  for (const name of existsSync(DIST) ? readdirSync(DIST) : [])
    if (name !== 'release' && !name.startsWith('.building-'))
      rmSync(join(DIST, name), { recursive: true, force: true });
};

/** Bundles all entries that exist into a dist/ emptied of what earlier calls left. */
export const bundle = async (): Promise<Bundled> => {
  const entries = Object.entries({ ...PARTS, ...appEntries() });
  const missing = entries.map(([, path]) => path).filter((path) => !existsSync(join(REPOSITORY, path)));
  emptyDist();
  const failed: string[] = [];
  await Promise.all(
    entries
      .filter(([, path]) => !missing.includes(path))
      .map(([name, path]) =>
        bundleOne(name, path).catch((error: unknown) => failed.push(`${path}: ${firstError(error)}`)),
      ),
  );
  return { missing, failed };
};

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { missing, failed } = await bundle();
  for (const path of missing) console.log(`${path} is not there: skipped`);
  for (const line of failed) console.error(line);
  if (failed.length > 0) process.exitCode = 1;
}
