/** How far a copy has come beside its serving source, in words and as a table. Pure. */
import type { Handoff, Replay, StatefulMigration } from '../../webhook/api/migration.ts';
import { columns } from '../format.ts';
import { handoffsOf } from './model.ts';

const perSecond = (rate: number): string => rate.toFixed(1);
const percent = (share: number): string => `${Math.round(share * 100)} %`;

/** One line. Matched outputs are swallowed: the source's have been made. */
export const replayText = (replay: Replay): string =>
  [
    `source ${perSecond(replay.sourceRate)}/s`,
    `lag ${replay.lag}`,
    `played ${replay.played} of ${replay.recorded}`,
    `matched and swallowed ${replay.matched}`,
    `waiting ${replay.waiting}`,
    ...(replay.throttle < 1 ? [`source throttled to ${percent(replay.throttle)} of the copy's pace`] : []),
    ...(replay.link === 'relay' ? ['relayed by the controller'] : []),
    ...(replay.diverged > 0 ? [`diverged ${replay.diverged}${replay.divergence ? `: ${replay.divergence}` : ''}`] : []),
  ].join(', ');

type Replayed = Handoff & { replay: Replay };
const replayed = (migration: StatefulMigration): Replayed[] =>
  handoffsOf(migration).filter((handoff): handoff is Replayed => handoff.replay !== undefined);

/** Nothing for a migration that replayed nothing. */
export const replayTable = (migration: StatefulMigration, indent = ''): string => {
  const rows = replayed(migration);
  if (rows.length === 0) return '';
  const table = columns(
    ['REPLAY', 'SOURCE/S', 'LAG', 'PLAYED', 'MATCHED', 'WAITING', 'THROTTLE', 'DIVERGED', 'RECORD'],
    rows.map(({ source, copy, replay }) => [
      `${source.name} -> ${copy.name}`,
      perSecond(replay.sourceRate),
      String(replay.lag),
      `${replay.played}/${replay.recorded}`,
      String(replay.matched),
      String(replay.waiting),
      replay.throttle < 1 ? percent(replay.throttle) : '-',
      String(replay.diverged),
      replay.link === 'relay' ? 'relayed' : 'direct',
    ]),
    indent,
  );
  const told = rows.flatMap(({ copy, replay }) =>
    replay.divergence ? [`${indent}${copy.name} diverged: ${replay.divergence}`] : [],
  );
  return [table, ...told].join('\n');
};
