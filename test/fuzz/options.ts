/** What the command lines of fuzz and schedules ask for. Pure. */
import { parseArgs } from 'node:util';

/** Its message is for people. */
export class UsageError extends Error {}

export interface Options {
  /** How much, in the command's own unit. */
  readonly amount: number;
  readonly from: number;
  /** This one only. */
  readonly seed: number | undefined;
}

const count = (name: string, value: string): number => {
  const number = Number(value);
  if (value.trim() === '' || !Number.isSafeInteger(number) || number < 0)
    throw new UsageError(`--${name} ${value}: not a whole number of 0 or more`);
  return number;
};

/** undefined: help is wanted. Throws UsageError. */
export const parse = (args: readonly string[], unit: string, standard: number): Options | undefined => {
  let values: Record<string, string | boolean | undefined>;
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        [unit]: { type: 'string', default: String(standard) },
        from: { type: 'string', default: '1' },
        seed: { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }));
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error });
  }
  if (values.help === true) return undefined;
  const text = (name: string): string => String(values[name]);
  return {
    amount: count(unit, text(unit)),
    from: count('from', text('from')),
    seed: values.seed === undefined ? undefined : count('seed', text('seed')),
  };
};
