/** What this machine must have, checked before anything is touched. */
import { existsSync, readFileSync, statfsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { ShadowError } from '../../webhook/api/errors.ts';
import { installPackages, PACKAGES } from './build/debian.ts';
import type { Say } from './build/parts.ts';
import type { Host } from './config.ts';
import { cacheDir } from './layout.ts';
import { must } from './run.ts';

const CAP_SYS_RESOURCE = 24n;
const CAP_SYS_ADMIN = 21n;
const OVERLAYFS_MAGIC = 0x794c7630;
const GIGABYTE = 1e9;
/** Builds, caches and images of a cold start (measured: 6.5 GB with the Go caches). */
const DISK_GIGABYTES = 8;

/** Facts about a machine; the checks below are pure in them. */
export interface Facts {
  readonly uid: number;
  /** CapEff of /proc/self/status. */
  readonly capabilities: bigint;
  /** /proc/filesystems. */
  readonly filesystems: string;
  /** Names in /proc/self/ns. */
  readonly namespaces: readonly string[];
  /** The kernel's configuration where it is to be had. */
  readonly kernelConfig: string | undefined;
  /** Of the file system the playground runs on. */
  readonly fileSystemType: number;
  readonly freeGigabytes: number;
  readonly cgroup: boolean;
  readonly apt: boolean;
}

interface Check {
  readonly what: string;
  readonly ok: (facts: Facts) => boolean;
}

/** Unknown counts as there: many kernels do not show their configuration. */
const configured = (config: string | undefined, option: string): boolean =>
  config === undefined || new RegExp(`^${option}=[ym]$`, 'm').test(config);

const has = (capabilities: bigint, bit: bigint): boolean => ((capabilities >> bit) & 1n) === 1n;

const KERNEL_OPTIONS = [
  'CONFIG_OVERLAY_FS',
  'CONFIG_NF_TABLES',
  'CONFIG_INET_DIAG_DESTROY',
  'CONFIG_VETH',
  'CONFIG_BRIDGE',
  'CONFIG_CHECKPOINT_RESTORE',
];

export const CHECKS: readonly Check[] = [
  {
    what: 'CAP_SYS_ADMIN (a privileged machine, not a plain container)',
    ok: (facts) => has(facts.capabilities, CAP_SYS_ADMIN),
  },
  { what: 'Debian or Ubuntu with apt-get', ok: (facts) => facts.apt },
  ...['net', 'mnt', 'pid', 'uts', 'ipc'].map((name) => ({
    what: `${name} namespaces in the kernel`,
    ok: (facts: Facts) => facts.namespaces.includes(name),
  })),
  ...KERNEL_OPTIONS.map((option) => ({
    what: `${option} in the kernel`,
    ok: (facts: Facts) => configured(facts.kernelConfig, option),
  })),
  {
    what: 'overlayfs in the kernel',
    // As a module it shows only once it is loaded; then the configuration has said so.
    ok: (facts) =>
      facts.filesystems.includes('overlay') || (facts.kernelConfig?.includes('CONFIG_OVERLAY_FS=m') ?? true),
  },
  {
    what: 'a file system under /var/lib that is not itself an overlay',
    ok: (facts) => facts.fileSystemType !== OVERLAYFS_MAGIC,
  },
  { what: 'cgroups mounted at /sys/fs/cgroup', ok: (facts) => facts.cgroup },
  { what: `${DISK_GIGABYTES} GB of free disk`, ok: (facts) => facts.freeGigabytes >= DISK_GIGABYTES },
];

/** What the machine lacks, in words; empty when it will do. */
export const lacking = (facts: Facts): string[] => CHECKS.filter(({ ok }) => !ok(facts)).map(({ what }) => what);

const existing = (path: string): string => (existsSync(path) ? path : existing(dirname(path)));

const freeGigabytes = (path: string): number => {
  const { bavail, bsize } = statfsSync(existing(path));
  return (bavail * bsize) / GIGABYTE;
};

const kernelConfig = async (): Promise<string | undefined> => {
  const release = (await must(['uname', '-r'])).trim();
  if (existsSync('/proc/config.gz')) return gunzipSync(readFileSync('/proc/config.gz')).toString();
  const file = join('/boot', `config-${release}`);
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
};

const gather = async (): Promise<Facts> => ({
  uid: process.getuid?.() ?? -1,
  capabilities: BigInt(`0x${/^CapEff:\s*(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`),
  filesystems: readFileSync('/proc/filesystems', 'utf8'),
  namespaces: ['net', 'mnt', 'pid', 'uts', 'ipc'].filter((name) => existsSync(`/proc/self/ns/${name}`)),
  kernelConfig: await kernelConfig(),
  fileSystemType: statfsSync('/var/lib').type,
  freeGigabytes: Math.min(freeGigabytes('/var/lib'), freeGigabytes(cacheDir())),
  cgroup: / \/sys\/fs\/cgroup\S* cgroup/.test(readFileSync('/proc/mounts', 'utf8')),
  apt: existsSync('/usr/bin/apt-get'),
});

/** Throws SHADOW_E_ROOT or SHADOW_E_HOST; installs the packages that are missing. */
export const checkHost = async (say: Say): Promise<Host> => {
  const facts = await gather();
  if (facts.uid !== 0) throw new ShadowError('SHADOW_E_ROOT');
  const missing = lacking(facts);
  if (missing.length > 0) throw new ShadowError('SHADOW_E_HOST', missing.join('; '));
  await installPackages(PACKAGES, join(cacheDir(), 'apt.log'), say);
  return { sysResource: has(facts.capabilities, CAP_SYS_RESOURCE) };
};
