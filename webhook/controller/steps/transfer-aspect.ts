/** Of a dry run: could the checkpoint travel as it is asked for? */
import type { ShadowError } from '../../api/errors.ts';
import type { Aspect, StatefulMigration } from '../../api/migration.ts';
import type { Context } from '../context.ts';
import { checkTransfer, modeOfTransfer } from '../preflight/transfer.ts';
import { apiFailure } from '../rest.ts';
import { tryTransfer } from './checkpoint-image.ts';

const unfit = ({ code, message }: ShadowError): Aspect => ({
  aspect: 'Transfer',
  verdict: 'Unfit',
  code,
  findings: [message.slice(0, 1_000)],
});

/**
 * Nothing to tell of mode Agent: the nodes' agents were asked anyway. `patient`: what may be otherwise the next time is thrown.
 */
export const transferAspects = async (
  ctx: Context,
  migration: StatefulMigration,
  nodes: { source: string; target: string | undefined },
  patient: boolean,
): Promise<Aspect[]> => {
  const mode = modeOfTransfer(migration.spec);
  if (mode === 'Agent') return [];
  try {
    checkTransfer(migration.spec);
    const { source, target } = nodes;
    if (source === '' || target === undefined)
      return [{ aspect: 'Transfer', verdict: 'Unknown', findings: ['there are no two nodes to try it between'] }];
    await tryTransfer(ctx, migration, source, target);
    const place = migration.spec.checkpointImageRepository;
    const found =
      mode === 'Registry'
        ? `${source} may push to ${place}, ${target} may pull`
        : `the image store of ${target} can be reached`;
    return [{ aspect: 'Transfer', verdict: 'Fit', findings: [found] }];
  } catch (thrown) {
    const error = apiFailure(thrown);
    if (patient && error.retryable) throw error;
    return [unfit(error)];
  }
};
