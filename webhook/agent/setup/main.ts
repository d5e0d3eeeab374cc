/**
 * `node /app/setup.cjs`: sets the node up and ends; the agent's init container. `node /app/setup.cjs remove`: takes all of it away
 * again, says so in /tmp/done, and stays until it is told to go; uninstall's DaemonSet. Environment: as the agent's.
 */
import { writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { asShadowError } from '../../api/errors.ts';
import { createLog } from '../../log.ts';
import { ENTER_NODE, LAYOUT, nodeOf } from '../node.ts';
import { STEADY_MS } from './containerd.ts';
import { type Setup, setUp, takeDown } from './setup.ts';

const DONE = '/tmp/done';
/** The kubelet shows it as the reason of the container's end. */
const REASON = '/dev/termination-log';

const log = createLog('setup');
const { NODE_NAME = hostname(), SHADOW_ENTER = ENTER_NODE.join(' '), SHADOW_TOOLS } = process.env;
const setup: Setup = {
  node: nodeOf(NODE_NAME, LAYOUT, SHADOW_ENTER.split(' ').filter(Boolean)),
  tools: SHADOW_TOOLS ?? join(dirname(process.argv[1] ?? ''), 'tools'),
  steadyMs: STEADY_MS,
  log,
};

const run = async (): Promise<void> => {
  if (process.argv[2] !== 'remove') return setUp(setup);
  await takeDown(setup);
  writeFileSync(DONE, '');
  setInterval(() => undefined, 60_000);
};

process.once('SIGTERM', () => process.exit(0));
run().catch((thrown: unknown) => {
  const error = asShadowError(thrown);
  log.fatal({ err: error }, 'the node could not be set up');
  try {
    writeFileSync(REASON, `${error.code}: ${error.message}`.slice(0, 4000));
  } catch {}
  process.exit(1);
});
