/** The sidecar's process: `node /app/sidecar.cjs`. */
import { createLog } from '../log.ts';
import { createRelay } from './relay.ts';
import { runProcess } from './run.ts';

runProcess(createRelay, createLog('sidecar'));
