/** What a rehearsal has measured, as findings of checks. Pure. */
import { CATALOGUE } from '../../../webhook/api/errors.ts';
import type { StatefulMigration } from '../../../webhook/api/migration.ts';
import type { Rehearsal } from '../../../webhook/api/rehearsal.ts';
import { bytes, seconds } from '../../format.ts';
import { anchorOf } from '../anchor.ts';
import { type Facts, type Finding, fail, judged, pass, skippedFor, warn } from '../facts.ts';

interface Told {
  migration: StatefulMigration;
  rehearsal: Rehearsal;
}

const REST = 'mend what failed first';

/** Of one that has played; what did not come to that is told by rehearsal-copy alone. */
const ofRehearsal = (facts: Facts, judge: (told: Told) => Finding): Finding =>
  judged(
    facts.rehearsal ?? { absent: true },
    'rehearse',
    (migration) => {
      const { rehearsal } = migration.status ?? {};
      return rehearsal === undefined ? fail('the controller knows no rehearsals') : judge({ migration, rehearsal });
    },
    skippedFor('there was no rehearsal', REST),
  );

const coded = (finding: Finding, { status }: StatefulMigration): Finding => {
  const code = status?.error?.code;
  return code === undefined ? finding : { ...finding, doc: `docs/errors.md#${anchorOf(code)}` };
};

const failed = (migration: StatefulMigration): Finding => {
  const { code, message = 'it was aborted' } = migration.status?.error ?? {};
  const text = code === undefined ? message : `${code}: ${message}`;
  return coded(fail(text, code === undefined ? undefined : CATALOGUE[code]?.hint), migration);
};

const stops = ({ status }: StatefulMigration): boolean => status?.strategy === 'StopAndCopy';

export const copied = (facts: Facts): Finding =>
  ofRehearsal(facts, ({ migration, rehearsal }) => {
    const { verdict, steps, played = 0, bytes: size } = rehearsal;
    if (verdict === undefined || verdict === 'Failed') return failed(migration);
    const { targetNode = '?' } = migration.status ?? {};
    const checkpoint = size === undefined ? '' : ` (${bytes(size)})`;
    const time = steps?.Replaying === undefined ? '' : ` in ${seconds(steps.Replaying)}`;
    const fence = stops(migration) ? ', fenced off: what it called beside its broker got no answer' : '';
    return pass(
      `a copy of ${migration.spec.sourcePod} on ${targetNode}${checkpoint} played ${played} entries of the record${time}${fence}; it is gone`,
    );
  });

/** `outputs alike: 240 (record: 512 entries)`. */
const counts = ({ matched = 0, recorded = 0 }: Rehearsal, when = ''): string =>
  `outputs alike${when}: ${matched} (record: ${recorded} entries)`;

export const replayed = (facts: Facts): Finding =>
  ofRehearsal(facts, ({ migration, rehearsal }) => {
    const { verdict, message = '' } = rehearsal;
    if (verdict === 'Idle') return warn(message, 'rehearse it again while it has messages');
    if (verdict === 'Behind') return pass(`as far as it came the copy did as its source; ${counts(rehearsal)}`);
    if (verdict !== 'Diverged') return pass(`safe to replay, nothing was otherwise; ${counts(rehearsal)}`);
    const { code = '' } = migration.status?.error ?? {};
    const text = `not safe to replay: ${code}: ${message}; ${counts(rehearsal, ' before that')}`;
    const { strategyReason = '' } = migration.status ?? {};
    return coded(
      stops(migration)
        ? warn(
            `${text}. A migration takes StopAndCopy, which replays nothing`,
            `none needed: ${strategyReason || 'StopAndCopy is exact for every app'}`,
          )
        : fail(text),
      migration,
    );
  });

const perSecond = (rate: number | undefined): string => (rate === undefined ? '?' : rate.toFixed(1));

const rates = ({ sourceRate, copyRate, lagMost, lag = 0, throttle = 1 }: Rehearsal): string =>
  [
    `source ${perSecond(sourceRate)}/s, copy up to ${perSecond(copyRate)}/s`,
    `lag at most ${lagMost ?? '?'}, at the end ${lag}`,
    ...(throttle < 1 ? [`source throttled to ${Math.round(throttle * 100)} % of the copy's pace`] : []),
  ].join('; ');

export const catchUp = (facts: Facts): Finding =>
  ofRehearsal(facts, ({ migration, rehearsal }) => {
    const { verdict, caughtUpMs, message = '' } = rehearsal;
    if (caughtUpMs !== undefined) return pass(`in ${seconds(caughtUpMs)}: ${rates(rehearsal)}`);
    if (verdict !== 'Behind') return skippedFor('it did not come to that', REST);
    const text = `${migration.status?.error?.code}: ${message}; ${rates(rehearsal)}`;
    // Nothing has to be caught up with where nothing is replayed.
    return coded(stops(migration) ? warn(text) : fail(text), migration);
  });

const twice = ({ status }: StatefulMigration): boolean => status?.deploymentName === undefined;

export const pause = (facts: Facts): Finding =>
  ofRehearsal(facts, ({ migration, rehearsal: { estimate, frozenMs } }) => {
    const { pauseMs, pause: basis } = estimate ?? {};
    if (pauseMs === undefined) return skippedFor('it did not come to that', REST);
    const times = twice(migration) ? ', in each of two handoffs' : '';
    if (basis === 'Measured')
      return pass(`the app stood still for ${seconds(pauseMs)} (measured); in a migration about as long${times}`);
    const cut = frozenMs === undefined ? '' : `; for the rehearsal it stood still for ${seconds(frozenMs)}`;
    return pass(
      `the app would stand still for ${seconds(pauseMs)} and what muting and attaching take${times} (an estimate)${cut}`,
    );
  });

const LIKE: Record<string, string> = { Ending: ' (like putting back)', SecondHandoff: ' (like the first)' };

/** `Warming 0.90s + Cutting 0.16s + …`. */
const sums = (parts: readonly { part: string; ms: number; estimated?: boolean }[]): string =>
  parts
    .map(({ part, ms, estimated }) => `${part} ${seconds(ms)}${estimated ? (LIKE[part] ?? ' (not measured)') : ''}`)
    .join(' + ');

export const whole = (facts: Facts): Finding =>
  ofRehearsal(facts, ({ migration, rehearsal: { estimate } }) => {
    const { wholeMs, parts = [] } = estimate ?? {};
    if (wholeMs === undefined) return skippedFor('it did not come to that', REST);
    const { strategy = '' } = migration.status ?? {};
    return pass(`about ${seconds(wholeMs)} by ${strategy} (an estimate): ${sums(parts)}`);
  });
