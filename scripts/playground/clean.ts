/** Ends and undoes all that any earlier `up` left, whole or half, alive or killed. */
import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { ShadowError } from '../../webhook/api/errors.ts';
import { disableControllers, removeCgroups } from './cgroups.ts';
import { NODES, RUN } from './layout.ts';
import { removeNetwork } from './network.ts';
import { poll, run } from './run.ts';
import { isAlive, markedPids, readState, type State } from './state.ts';

/** SIGKILL: kube-apiserver would drain for a minute on SIGTERM, and nothing here needs to be saved. */
const killAll = async (state: State): Promise<number> => {
  const killed = new Set<number>();
  const done = await poll(20_000, 50, () => {
    const recorded = Object.values(state.processes).filter(isAlive);
    const pids = new Set([...recorded.map((process) => process.pid), ...markedPids()]);
    for (const pid of pids) {
      killed.add(pid);
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // Gone by itself.
      }
    }
    return pids.size === 0 ? true : undefined;
  });
  if (!done) throw new ShadowError('SHADOW_E_INTERNAL', `processes do not die: ${markedPids().join(' ')}`);
  return killed.size;
};

export const readSysctl = (path: string): string | undefined => {
  try {
    return readFileSync(`/proc/sys/${path}`, 'utf8').trim();
  } catch {
    return undefined;
  }
};

const restoreSysctls = (state: State): string[] =>
  Object.entries(state.sysctls)
    .filter(([path, value]) => readSysctl(path) !== value)
    .map(([path, value]) => {
      writeFileSync(`/proc/sys/${path}`, value);
      return `sysctl ${path.replaceAll('/', '.')} (back to ${value})`;
    });

/** Only what is empty: what others put there since stays. */
const removeMade = (state: State): string[] =>
  state.made.toReversed().filter((path) => {
    try {
      rmdirSync(path);
      return true;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'ENOTDIR' && tryUnlink(path);
    }
  });

/** `ip netns` mounts its directory onto itself. */
const unmountNetns = async (state: State): Promise<void> => {
  if (!state.made.includes('/run/netns') || !existsSync('/run/netns') || readdirSync('/run/netns').length > 0) return;
  await run(['umount', '/run/netns']);
};

const tryUnlink = (path: string): boolean => {
  try {
    unlinkSync(path);
    return true;
  } catch {
    return false;
  }
};

/** Says what was there; nothing when nothing was. */
export const clean = async (): Promise<string[]> => {
  const state = readState();
  const said: string[] = [];
  const killed = await killAll(state);
  if (killed > 0) said.push(`${killed} processes`);
  for (const node of NODES) if (await removeCgroups(node)) said.push(`cgroups of ${node}`);
  disableControllers(state.controllers);
  said.push(...(await removeNetwork()), ...restoreSysctls(state));
  await unmountNetns(state);
  said.push(...removeMade(state));
  if (existsSync(RUN)) {
    rmSync(RUN, { recursive: true, force: true });
    said.push(RUN);
  }
  return said;
};
