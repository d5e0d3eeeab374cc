/** kubectl shadow abort. */
import { ShadowError } from '../../webhook/api/errors.ts';
import type { Io } from '../io.ts';
import { type Common, durationMs } from '../options.ts';
import { connectTo } from '../session.ts';
import { findMigration } from './find.ts';
import { errorOf, phaseOf } from './model.ts';
import { nameOfMigration, type ObjectOutput, printMigration } from './print.ts';
import { refuseLate, requestAbort } from './request.ts';

export interface AbortFlags extends Common {
  name: string;
  wait: boolean;
  timeout: string;
  output?: ObjectOutput | undefined;
}

export const abort = async (flags: AbortFlags, io: Io): Promise<number> => {
  const timeoutMs = durationMs('timeout', flags.timeout);
  const { api, namespace } = await connectTo(flags);
  const found = await findMigration(api, namespace, flags.name);
  refuseLate(found);
  const asked = await requestAbort(api, found.metadata);
  if (!flags.wait) {
    if (flags.output) await printMigration(io, flags.output, asked);
    else io.out(`${nameOfMigration(asked)} asked to abort`);
    return 0;
  }
  const { timedOut, waitForEnd } = await import('./wait.ts');
  const { how, last } = await waitForEnd(api, io, asked, timeoutMs);
  if (how === 'interrupted') return 130;
  if (how === 'timeout') throw timedOut(last, flags.timeout);
  if (flags.output) await printMigration(io, flags.output, last);
  if (phaseOf(last) === 'Completed') throw new ShadowError('SHADOW_E_COMMITTED', `${last.metadata.name} completed`);
  const problem = errorOf(last);
  if (problem && phaseOf(last) !== 'Aborted') throw problem;
  if (!flags.output) io.out(`${nameOfMigration(last)} aborted`);
  return 0;
};
