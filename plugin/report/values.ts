/** Numbers in the page: each carries its raw value, and where in the JSON it is. Pure. */
import { type Markup, m } from './markup.ts';

/** `path`: in Report, as `handoffs.0.proof.matched`. null: a dash, since it is not known. */
export const figure = (path: string, value: number | null, shown: (value: number) => string = String): Markup =>
  value === null
    ? m`<span class="soft">–</span>`
    : m`<data value="${value}" data-path="${path}">${shown(value)}</data>`;
