/** A real registry (CNCF distribution, built once from its Go module and cached), with its storage in a directory of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Recipe } from '../../scripts/playground/build/cache.ts';
import { TOOLCHAIN } from '../../scripts/playground/build/go.ts';
import { goProgram, obtainPart } from '../../scripts/playground/build/parts.ts';

const VERSION = '3.1.2';
const PACKAGE = 'github.com/distribution/distribution/v3/cmd/registry';
const say = (line: string): void => console.error(line);

const registryRecipe = (): Recipe => ({
  name: 'registry',
  version: VERSION,
  recipe: PACKAGE,
  build: async ({ out, step }) => {
    const go = await goProgram(say);
    await step([go, 'install', '-ldflags', '-s -w', `${PACKAGE}@v${VERSION}`], {
      env: { ...TOOLCHAIN, GOBIN: out, CGO_ENABLED: '0', GOFLAGS: '' },
    });
  },
});

/** Built the first time, which takes minutes. */
export const registryProgram = async (): Promise<string> => join(await obtainPart(registryRecipe(), say), 'registry');

export const LOGIN = { username: 'pusher', password: 'secret of a test' } as const;
/** Of LOGIN, by bcrypt: the registry takes no other. */
const HTPASSWD = 'pusher:$2b$05$abcdefghijklmnopqrstuuE8BMH0mGK5QAQR5ieaOcTaB7AB7Bq4y\n';

export interface RegistryOptions {
  /** Address to listen on; default loopback. */
  address?: string;
  /** Basic authentication with LOGIN. */
  login?: boolean;
  /** The token authentication of the specification: where tokens are to be had, and whose are good (PEM). */
  token?: { realm: string; certificate: string };
  /** Whether manifests and blobs may be deleted; default true. */
  deletes?: boolean;
  tls?: { cert: string; key: string };
}

export interface Registry {
  /** With the port. */
  readonly host: string;
  /** Blobs there are, by digest: `sha256/ab/abc…`. */
  blobs(): string[];
  /** Uploads that were begun and neither ended nor called off. */
  uploads(): string[];
  /** Digests of the manifests that can be had of a repository. */
  manifests(name: string): string[];
  /** One byte of a blob turned over. */
  damage(digest: string): void;
  close(): Promise<void>;
}

const freePort = async (address: string): Promise<number> => {
  const server = createServer().listen(0, address);
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
};

const configOf = (dir: string, host: string, { login, token, deletes = true, tls }: RegistryOptions): object => ({
  version: '0.1',
  log: { level: 'error', accesslog: { disabled: true } },
  storage: { filesystem: { rootdirectory: join(dir, 'data') }, delete: { enabled: deletes } },
  http: {
    addr: host,
    secret: 'one',
    ...(tls ? { tls: { certificate: join(dir, 'tls.crt'), key: join(dir, 'tls.key') } } : {}),
  },
  ...(login ? { auth: { htpasswd: { realm: 'test', path: join(dir, 'htpasswd') } } } : {}),
  ...(token
    ? {
        auth: {
          token: { realm: token.realm, service: 'registry', issuer: 'test', rootcertbundle: join(dir, 'token.crt') },
        },
      }
    : {}),
});

const answers = async (url: string): Promise<boolean> => {
  try {
    return (await fetch(url)).status < 500;
  } catch (error) {
    // It speaks TLS with a certificate that fetch does not know: it is there.
    return /certificate/.test(`${(error as Error).cause}`);
  }
};

const awaitAnswer = async (url: string, child: ChildProcess, said: () => string): Promise<void> => {
  for (let tries = 0; !(await answers(url)); tries++) {
    if (child.exitCode !== null || tries > 600) throw new Error(`the registry does not start: ${said()}`);
    await sleep(50);
  }
};

const filesBelow = (dir: string): string[] =>
  existsSync(dir) ? (readdirSync(dir, { recursive: true }) as string[]) : [];

export const openRegistry = async (options: RegistryOptions = {}): Promise<Registry> => {
  const program = await registryProgram();
  const dir = mkdtempSync(join(tmpdir(), 'shadow-registry-'));
  const address = options.address ?? '127.0.0.1';
  const host = `${address}:${await freePort(address)}`;
  mkdirSync(join(dir, 'data'));
  writeFileSync(join(dir, 'htpasswd'), HTPASSWD);
  writeFileSync(join(dir, 'token.crt'), options.token?.certificate ?? '');
  writeFileSync(join(dir, 'tls.crt'), options.tls?.cert ?? '');
  writeFileSync(join(dir, 'tls.key'), options.tls?.key ?? '');
  // YAML has all of JSON.
  writeFileSync(join(dir, 'config.yml'), JSON.stringify(configOf(dir, host, options)));
  let said = '';
  const env = { PATH: process.env.PATH ?? '', OTEL_TRACES_EXPORTER: 'none' };
  const child = spawn(program, ['serve', join(dir, 'config.yml')], { stdio: ['ignore', 'pipe', 'pipe'], env });
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (text: Buffer) => {
      said = (said + text.toString()).slice(-4000);
    });
  await awaitAnswer(`http${options.tls ? 's' : ''}://${host}/v2/`, child, () => said);
  const store = join(dir, 'data/docker/registry/v2');
  const repository = (name: string): string => join(store, 'repositories', name);
  return {
    host,
    blobs: () =>
      filesBelow(join(store, 'blobs'))
        .filter((path) => path.endsWith('/data'))
        .map((path) => path.slice(0, -'/data'.length)),
    uploads: () => filesBelow(join(store, 'repositories')).filter((path) => /\/_uploads\/[^/]+\/startedat$/.test(path)),
    manifests: (name) =>
      filesBelow(join(repository(name), '_manifests/revisions/sha256'))
        .filter((path) => path.endsWith('/link'))
        .map((path) => `sha256:${path.slice(0, -'/link'.length)}`),
    damage: (digest) => {
      const hex = digest.slice('sha256:'.length);
      const file = join(store, 'blobs/sha256', hex.slice(0, 2), hex, 'data');
      const bytes = readFileSync(file);
      const place = bytes.length >> 1;
      bytes[place] = (bytes[place] ?? 0) ^ 1;
      writeFileSync(file, bytes);
    },
    close: async () => {
      const ended = once(child, 'exit');
      if (child.exitCode === null && child.kill('SIGKILL')) await ended;
      rmSync(dir, { recursive: true, force: true });
    },
  };
};
