/** How fast source and copy were, from the series that the report draws, too. Pure. */
import type { Handoff } from '../../webhook/api/migration.ts';

/** Deliveries a second to its app, in order of time; nothing for when it was not known. */
export const paceOf = ({ series }: Handoff, of: 'sourceRate' | 'copyRate'): readonly number[] =>
  (series?.[of] ?? []).filter((rate) => rate >= 0);

const BARS = { unicode: [...'▁▂▃▄▅▆▇█'], ascii: [...'_.:-=+*#'] } as const;

/** The last `width` values, each as high as it is of the greatest of them. */
export const sparkline = (values: readonly number[], width: number, unicode: boolean): string => {
  const bars = unicode ? BARS.unicode : BARS.ascii;
  const shown = width > 0 ? values.slice(-width) : [];
  const top = Math.max(...shown, 0);
  return shown.map((value) => bars[top > 0 ? Math.round((Math.max(0, value) / top) * (bars.length - 1)) : 0]).join('');
};
