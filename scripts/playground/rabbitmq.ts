/** Which RabbitMQ there is to run, and how its programs are called: the machine's own, or a newer one in a root of its own. */
import { join } from 'node:path';
import { obtainPart } from './build/parts.ts';
import { rabbitmq4 } from './build/rabbitmq.ts';

/** 3: the machine's package (3.10 on Debian bookworm). 4: that of a newer suite. */
export const SERIES = ['3', '4'] as const;
export type Series = (typeof SERIES)[number];
export const isSeries = (text: string | undefined): text is Series =>
  (SERIES as readonly string[]).includes(text ?? '');

export interface Installation {
  readonly series: Series;
  /** Path under which its programs find the directory `own` of this machine. They may write nowhere else. */
  readonly inside: (own: string) => string;
  /** The call of one of its programs (epmd, too) for a broker that lives in `own`. What it calls becomes the process itself. */
  readonly call: (own: string, program: string, ...args: readonly string[]) => string[];
}

const OWN_PROGRAMS: Readonly<Record<string, string>> = { epmd: '/usr/bin/epmd' };

const pathOf = (program: string): string => OWN_PROGRAMS[program] ?? join('/usr/lib/rabbitmq/bin', program);

const machines: Installation = {
  series: '3',
  inside: (own) => own,
  call: (_own, program, ...args) => [pathOf(program), ...args],
};

/** Debian's base has it, empty, for just this: what a machine serves. */
const INSIDE = '/srv';

/**
 * In a mount namespace of its own, so that no mount outlives the process. `exec` all the way: its pid is that of the program,
 * and a signal is for it.
 */
const ENTER = `set -e
root=$1 own=$2
shift 2
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
for dir in proc dev; do mount --rbind "/$dir" "$root/$dir"; done
mount -t tmpfs tmpfs "$root/tmp"
mount --bind "$own" "$root${INSIDE}"
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec chroot "$root" "$@"`;

/** Of the root at `root`, as `rabbitmq4` makes it. */
export const inRoot = (root: string): Installation => ({
  series: '4',
  inside: () => INSIDE,
  call: (own, program, ...args) => [
    'unshare',
    '--mount',
    '--propagation',
    'private',
    'sh',
    '-c',
    ENTER,
    'sh',
    root,
    own,
    pathOf(program),
    ...args,
  ],
});

/** What a broker reads in its directory, by what names. */
export const OWN = { config: 'rabbitmq.conf', plugins: 'enabled_plugins', pid: 'pid' } as const;

/**
 * RabbitMQ apart from any other on the machine: its own name, cookie and directories. `dir`: as it sees it. `data`: below it;
 * of one series only. Busy waiting of Erlang's schedulers is off: idle ones would burn a core beside what is tested or measured.
 */
export const environmentOf = (dir: string, nodename: string, data = 'data') => ({
  HOME: dir,
  RABBITMQ_NODENAME: nodename,
  RABBITMQ_CONF_ENV_FILE: join(dir, 'none'),
  RABBITMQ_CONFIG_FILE: join(dir, OWN.config),
  RABBITMQ_ENABLED_PLUGINS_FILE: join(dir, OWN.plugins),
  RABBITMQ_MNESIA_BASE: join(dir, data),
  RABBITMQ_LOG_BASE: join(dir, 'log'),
  RABBITMQ_PID_FILE: join(dir, OWN.pid),
  RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '+sbwt none +sbwtdcpu none +sbwtdio none',
});

/** Obtains it if need be. Series 4 needs root. */
export const installation = async (series: Series): Promise<Installation> =>
  series === '3' ? machines : inRoot(await obtainPart(rabbitmq4(), console.error));
