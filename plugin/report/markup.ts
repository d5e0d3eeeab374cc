/** HTML and SVG as text in which everything that is put in is escaped, unless it is markup itself. Pure. */

export class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export type Part = string | number | undefined | Markup | readonly Part[];

const NAMED: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** XML allows no control characters but tab and the ends of lines (XML 1.0, section 2.2), and no lone surrogates. */
const allowed = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is about
  text.toWellFormed().replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\ufffe\uffff]/g, '\ufffd');

/** For text and for quoted attributes alike. */
export const escaped = (text: string): string => allowed(text).replace(/[&<>"']/g, (each) => NAMED[each]!);

const textOf = (part: Part): string => {
  if (part === undefined) return '';
  if (part instanceof Markup) return part.text;
  return typeof part === 'object' ? part.map(textOf).join('') : escaped(String(part));
};

/** `m\`<b>${name}</b>\``. Attributes must be quoted. */
export const m = (strings: TemplateStringsArray, ...parts: Part[]): Markup =>
  new Markup(strings.map((text, index) => text + textOf(parts[index])).join(''));
