/** The node's containerd: which one runs, by which configuration, and how it is started anew. */
import { once } from 'node:events';
import { readlink } from 'node:fs/promises';
import net from 'node:net';
import { isAbsolute, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ShadowError } from '../../api/errors.ts';
import { namesIn } from '../files.ts';
import { type Node, type RunOptions, textOf } from '../node.ts';

const DEFAULT_CONFIG = '/etc/containerd/config.toml';
const SOCKET = '/run/containerd/containerd.sock';
/** Distributions that write containerd's configuration themselves, anew at each start, by where it lies. */
const GENERATED = ['/var/lib/rancher/', '/var/lib/k0s/', '/run/k0s/', '/var/snap/microk8s/'];
const RESTART_MS = 60_000;
/** So long it must stay up: one that can't read its configuration ends at once. */
export const STEADY_MS = 2000;

export interface Containerd {
  readonly pid: number;
  readonly program: string;
  /** Path on the node; there may be no such file. */
  readonly config: string;
}

/** Of containerd's command line. Pure. */
export const configIn = (argv: readonly string[]): string => {
  for (const [index, word] of argv.entries()) {
    if (word === '--config' || word === '-c') return argv[index + 1] ?? DEFAULT_CONFIG;
    const given = /^(?:--config|-c)=(.+)$/.exec(word)?.[1];
    if (given !== undefined) return given;
  }
  return DEFAULT_CONFIG;
};

const unfit = (detail: string): ShadowError => new ShadowError('SHADOW_E_NODE_SETUP', detail);

/** The node's own: a container may run another one, in a mount namespace of its own. Throws SHADOW_E_NODE_SETUP. */
export const findContainerd = async (node: Node): Promise<Containerd> => {
  const { proc } = node.layout;
  const mounts = await readlink(join(proc, '1/ns/mnt'));
  for (const name of await namesIn(proc)) {
    if (!/^\d+$/.test(name) || (await textOf(join(proc, name, 'comm')))?.trim() !== 'containerd') continue;
    if ((await readlink(join(proc, name, 'ns/mnt')).catch(() => '')) !== mounts) continue;
    const argv = ((await textOf(join(proc, name, 'cmdline'))) ?? '').split('\0');
    const config = configIn(argv);
    if (!isAbsolute(config)) throw unfit(`containerd runs with a relative path to its configuration: ${config}`);
    const program = (await readlink(join(proc, name, 'exe'))).replace(/ \(deleted\)$/, '');
    return { pid: Number(name), program, config };
  }
  throw unfit('no containerd runs on the node');
};

/** Throws SHADOW_E_NODE_SETUP where a change of ours would not last. */
export const assertOwned = ({ config }: Containerd): void => {
  const by = GENERATED.find((path) => config.startsWith(path));
  if (by !== undefined)
    throw unfit(`${config} is written anew at each start of the distribution; give it the runtime by its own means`);
};

/** As it would be with the files as they are now. */
export const dump = (node: Node, { program, config }: Containerd, options: RunOptions = {}): Promise<string> =>
  node.run(program, ['--config', config, 'config', 'dump'], options);

const accepts = async (path: string): Promise<boolean> => {
  const socket = net.connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
};

/** The CRI plugin may have failed to load where the daemon is up. Where there is no ctr, nothing is known of it. */
const servesCri = async (node: Node): Promise<boolean> => {
  try {
    const rows = (await node.run('ctr', ['plugins', 'ls'])).split('\n').filter((row) => /\bcri\b/.test(row));
    return rows.every((row) => /\b(ok|skip)\s*$/.test(row));
  } catch {
    return true;
  }
};

/** systemd's name of it: containers go on while it is started anew. */
const unitOf = async (node: Node, { pid }: Containerd): Promise<string> => {
  const cgroups = (await textOf(join(node.layout.proc, String(pid), 'cgroup'))) ?? '';
  return /\/([\w@.-]+\.service)\s*$/m.exec(cgroups)?.[1] ?? 'containerd.service';
};

const isActive = (node: Node, unit: string): Promise<boolean> =>
  node.run('systemctl', ['is-active', '--quiet', unit]).then(
    () => true,
    () => false,
  );

/** Whether `restart` can do anything here; throws SHADOW_E_NODE_SETUP if not. */
export const assertRestartable = async (node: Node, containerd: Containerd): Promise<void> => {
  const unit = await unitOf(node, containerd);
  if (!(await isActive(node, unit))) throw unfit(`systemd does not run ${unit}, so it could not be started anew`);
};

/** Resolves when another process of it has been serving for a while. Throws SHADOW_E_NODE_SETUP. */
export const restart = async (node: Node, before: Containerd, steadyMs: number): Promise<void> => {
  const unit = await unitOf(node, before);
  await node.run('systemctl', ['restart', unit], { timeoutMs: RESTART_MS }).catch((error: Error) => {
    throw unfit(`${unit} does not start: ${error.message}`);
  });
  const until = performance.now() + RESTART_MS;
  let steady: { pid: number; since: number } | undefined;
  while (performance.now() < until) {
    const now = await findContainerd(node).catch(() => undefined);
    const up = now !== undefined && now.pid !== before.pid && (await accepts(node.at(SOCKET)));
    if (!up || steady?.pid !== now.pid) steady = up ? { pid: now.pid, since: performance.now() } : undefined;
    else if (performance.now() - steady.since > steadyMs) {
      if (await servesCri(node)) return;
      throw unfit(`${unit} is up, but its CRI plugin is not`);
    }
    await sleep(100);
  }
  throw unfit(`${unit} was started anew and did not stay up for ${steadyMs / 1000} s within ${RESTART_MS / 1000} s`);
};
