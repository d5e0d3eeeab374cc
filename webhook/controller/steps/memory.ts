/**
 * What one leader remembers of a handoff beside its record: it saves repeating an idempotent call at every turn, and times
 * what need not outlive the leader. Nothing is decided by it alone: a new leader, which remembers nothing, does it again.
 */
import type { Handoff } from '../../api/migration.ts';
import type { Context } from '../context.ts';

/** What it is remembered of. */
type Of = Pick<Handoff, 'claim'>;

const keyOf = ({ claim }: Of, what: string): string => `${claim}/${what}`;

/** The call is made unless it has gone through less than `ms` milliseconds ago. */
export const every = async (
  ctx: Context,
  handoff: Of,
  what: string,
  ms: number,
  call: () => Promise<unknown>,
): Promise<void> => {
  if ((sinceRemembered(ctx, handoff, what) ?? Number.POSITIVE_INFINITY) < ms) return;
  await call();
  remember(ctx, handoff, what);
};

/** The call is made until it has gone through once. */
export const once = (ctx: Context, handoff: Of, what: string, call: () => Promise<unknown>): Promise<void> =>
  every(ctx, handoff, what, Number.POSITIVE_INFINITY, call);

/** Milliseconds since this was asked first. */
export const sinceSeen = (ctx: Context, handoff: Handoff, what: string): number => {
  const key = keyOf(handoff, what);
  const first = ctx.memory.get(key) ?? ctx.now();
  ctx.memory.set(key, first);
  return ctx.now() - first;
};

/** Milliseconds since this was lower than ever before. */
export const sinceLowest = (ctx: Context, handoff: Handoff, what: string, value: number): number => {
  const key = keyOf(handoff, `lowest ${what}`);
  if (value < (ctx.memory.get(key) ?? Number.POSITIVE_INFINITY)) {
    ctx.memory.set(key, value);
    remember(ctx, handoff, what);
  }
  return sinceRemembered(ctx, handoff, what) ?? 0;
};

export const remember = (ctx: Context, handoff: Of, what: string): void => {
  ctx.memory.set(keyOf(handoff, what), ctx.now());
};

/** Milliseconds since it was remembered; undefined: never. */
export const sinceRemembered = (ctx: Context, handoff: Of, what: string): number | undefined => {
  const at = ctx.memory.get(keyOf(handoff, what));
  return at === undefined ? undefined : ctx.now() - at;
};

/** Was it remembered? It is not any more. */
export const recall = (ctx: Context, handoff: Handoff, what: string): boolean =>
  ctx.memory.delete(keyOf(handoff, what));

export const forget = (ctx: Context, claims: readonly string[]): void => {
  for (const key of [...ctx.memory.keys()])
    if (claims.some((claim) => key.startsWith(`${claim}/`))) ctx.memory.delete(key);
};
