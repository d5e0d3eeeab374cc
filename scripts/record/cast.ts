/** A recorded terminal session, as a file: asciicast version 2 (https://docs.asciinema.org/manual/asciicast/v2/). Pure. */
import { z } from 'zod';
import { ShadowError } from '../../webhook/api/errors.ts';

/** `width` and `height` in cells; `timestamp`: when it began, seconds since 1970. */
const HEADER = z.looseObject({
  version: z.literal(2),
  width: z.int().min(1).max(500),
  height: z.int().min(1).max(200),
  timestamp: z.int().optional(),
  title: z.string().optional(),
});
/** Seconds since the beginning; o: what was written to the terminal, i: what was typed, and others. */
const EVENT = z.tuple([z.number().nonnegative(), z.string(), z.string()]);

export type Header = z.infer<typeof HEADER>;
export type Event = z.infer<typeof EVENT>;

export interface Cast {
  readonly header: Header;
  /** In the order of their times. */
  readonly events: readonly Event[];
}

const lineOf = <T>(schema: z.ZodType<T>, text: string, number: number): T => {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ShadowError('SHADOW_E_INVALID', `line ${number} is not JSON: ${(error as Error).message}`);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new ShadowError(
    'SHADOW_E_INVALID',
    `line ${number} is none of an asciicast 2: ${z.prettifyError(parsed.error)}`,
  );
};

/** Throws SHADOW_E_INVALID, naming the line. */
export const parseCast = (text: string): Cast => {
  const [first = '', ...rest] = text.split('\n').filter((line) => line.trim() !== '');
  const header = lineOf(HEADER, first, 1);
  const events = rest.map((line, index) => lineOf(EVENT, line, index + 2));
  const back = events.findIndex(([at], index) => at < (events[index - 1]?.[0] ?? 0));
  if (back >= 0) throw new ShadowError('SHADOW_E_INVALID', `line ${back + 2} is earlier than the one before`);
  return { header, events };
};

export const castText = ({ header, events }: Cast): string =>
  [header, ...events].map((line) => `${JSON.stringify(line)}\n`).join('');
