/** Plain processes in the playground's network namespaces. */
import { join } from 'node:path';
import { LOGS, netnsPath } from './layout.ts';
import { start } from './run.ts';
import { record, type State } from './state.ts';

export const inNetns = (netns: string): string[] => ['nsenter', `--net=${netnsPath(netns)}`];

/** Starts it under `name`, by which it is found again in the state, and its log. */
export const launch = (
  state: State,
  netns: string,
  name: string,
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
): void => record(state, name, start([...inNetns(netns), ...argv], join(LOGS, `${name}.log`), env));
