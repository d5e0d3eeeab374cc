/** What the options of our measurements have in common. Pure. */

/** Its message is for people. */
export class UsageError extends Error {}

export const listed = (names: readonly (string | number)[]): string => names.join(', ');

export const count = (text: string, name: string, least: number, most: number): number => {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > most)
    throw new UsageError(`--${name} ${text}: not a whole number from ${least} to ${most}`);
  return value;
};

/** In the order of `all`, each once, however they were named. */
export const chosen = <T>(
  text: string | undefined,
  option: string,
  all: readonly T[],
  nameOf: (each: T) => string,
): T[] => {
  if (text === undefined) return [...all];
  const wanted = text.split(',').map((name) => name.trim());
  for (const name of wanted)
    if (!all.some((each) => nameOf(each) === name))
      throw new UsageError(`--${option} ${name}: none of ${listed(all.map(nameOf))}`);
  return all.filter((each) => wanted.includes(nameOf(each)));
};

/** `parse`, with its complaints as ours. */
export const orUsage = <T>(parse: () => T): T => {
  try {
    return parse();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (!code.startsWith('ERR_PARSE_ARGS')) throw error;
    throw new UsageError((error as Error).message);
  }
};
