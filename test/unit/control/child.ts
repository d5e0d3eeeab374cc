/** A sidecar process with a stand-in relay: notes every call in run/calls, and does I/O all the time (run/ticks). */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { createLog } from '../../../webhook/log.ts';
import { pathsOf } from '../../../webhook/sidecar/identity.ts';
import { runProcess } from '../../../webhook/sidecar/run.ts';
import { createStandIn } from './world.ts';

const { runDir } = pathsOf(process.env);
const calls: string[] = [];
calls.push = (...items) => {
  appendFileSync(join(runDir, 'calls'), `${items.join('\n')}\n`);
  return 0;
};
setInterval(() => appendFileSync(join(runDir, 'ticks'), '.'), 2);
runProcess(() => createStandIn(calls), createLog('sidecar'));
