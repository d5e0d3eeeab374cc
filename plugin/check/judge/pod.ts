/** The controller's findings about a pod, as findings of checks. The judgement is the controller's alone. Pure. */
import { CATALOGUE } from '../../../webhook/api/errors.ts';
import type { Aspect, AspectName, StatefulMigration } from '../../../webhook/api/migration.ts';
import { anchorOf } from '../anchor.ts';
import { type Finding, fail, judged, type Looked, pass, skippedFor, some, warn } from '../facts.ts';

const refused = ({ code, findings }: Aspect): Finding => {
  const finding = fail(some(findings), code === undefined ? undefined : CATALOGUE[code]?.hint);
  return code === undefined ? finding : { ...finding, doc: `docs/errors.md#${anchorOf(code)}` };
};

/** `whenFit`: what to say when there is nothing to say. */
const ofAspect = (
  facts: Looked,
  name: AspectName,
  whenFit: string | ((migration: StatefulMigration, aspect: Aspect) => string),
  doubtful: typeof warn | typeof fail = warn,
): Finding =>
  judged(
    facts.dryRun ?? { absent: true },
    'have the pod looked at',
    (migration) => {
      const aspect = migration.status?.assessment?.find((one) => one.aspect === name);
      if (aspect === undefined) {
        const { error } = migration.status ?? {};
        return migration.status?.assessment === undefined && error !== undefined
          ? fail(`the controller could not look: ${error.message}`)
          : skippedFor('there is no such pod', 'kubectl get pods lists them; mind the namespace (-n)');
      }
      if (aspect.verdict === 'Unfit') return refused(aspect);
      if (aspect.verdict === 'Unknown') return skippedFor(some(aspect.findings), 'mend what failed first');
      if (aspect.verdict === 'Warning') return doubtful(some(aspect.findings));
      return pass(typeof whenFit === 'string' ? whenFit : whenFit(migration, aspect));
    },
    fail('the controller did not look at the pod'),
  );

const found = (_: StatefulMigration, { findings }: Aspect): string => some(findings);

export const podState = (facts: Looked): Finding =>
  ofAspect(
    facts,
    'Pod',
    ({ spec, status }) => `${spec.sourcePod} is ready on ${status?.sourceNode ?? '?'}, with the sidecar`,
  );
export const podSpec = (facts: Looked): Finding =>
  ofAspect(facts, 'Spec', 'no volume, hook or setting of it is in the way');
export const podOwner = (facts: Looked): Finding => ofAspect(facts, 'Owner', found);
export const podSession = (facts: Looked): Finding => ofAspect(facts, 'Session', found);
export const podProcesses = (facts: Looked): Finding => ofAspect(facts, 'Processes', found);
/** What is asked for against the controller's own judgement is not refused, but it would most likely be undone. */
export const podStrategy = (facts: Looked): Finding => ofAspect(facts, 'Strategy', found, fail);
export const podNodes = (facts: Looked): Finding =>
  ofAspect(facts, 'Nodes', ({ status }, { findings }) => {
    const fit = `it can go to ${some(status?.fitNodes ?? [], ', ')}`;
    return findings.length > 0 ? `${fit}; not to ${some(findings)}` : fit;
  });
export const podAdmission = (facts: Looked): Finding =>
  ofAspect(facts, 'Admission', 'the API server would take its copy (a dry run)');
