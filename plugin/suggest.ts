/** What somebody may have meant. Pure. */

/** Edits between two texts: a letter put in, left out, replaced, or swapped with its neighbour (optimal string alignment). */
export const distance = (a: string, b: string): number => {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, at) => at)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const edits = [rows[i - 1]![j]! + 1, row[j - 1]! + 1, rows[i - 1]![j - 1]! + same];
      row.push(Math.min(...edits, ...(swapped ? [rows[i - 2]![j - 2]! + 1] : [])));
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
};

const SHOWN = 3;

/** The likeliest first, at most three: one edit for each three letters, two at least, or what the text is the beginning of. */
export const closest = (text: string, names: Iterable<string>): string[] => {
  const near = Math.max(2, Math.floor(text.length / 3));
  return [...new Set(names)]
    .map((name) => ({ name, edits: distance(text, name), begins: text !== '' && name.startsWith(text) }))
    .filter(({ edits, begins }) => begins || edits <= near)
    .sort((a, b) => a.edits - b.edits || (a.name < b.name ? -1 : 1))
    .slice(0, SHOWN)
    .map(({ name }) => name);
};

/** For a hint; '' where there is nothing to suggest. */
export const didYouMean = (text: string, names: Iterable<string>): string => {
  const found = closest(text, names);
  return found.length > 0 ? `did you mean ${found.join(' or ')}?` : '';
};
