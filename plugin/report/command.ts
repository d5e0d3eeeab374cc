/** kubectl shadow report. */
import { writeFile } from 'node:fs/promises';
import { ShadowError } from '../../webhook/api/errors.ts';
import type { Io } from '../io.ts';
import { findMigrations } from '../migration/find.ts';
import { type Common, usage } from '../options.ts';
import { connectTo } from '../session.ts';
import { clientVersion } from '../version.ts';
import { reportOf } from './data.ts';
import type { Report } from './schema.ts';

export type ReportOutput = 'html' | 'svg' | 'json';

export interface ReportFlags extends Common {
  name?: string | undefined;
  output: ReportOutput;
  file?: string | undefined;
}

/** Throws SHADOW_E_USAGE for a picture of what has none. */
export const rendered = async (report: Report, output: ReportOutput): Promise<string> => {
  if (output === 'json') return `${JSON.stringify(report, null, 2)}\n`;
  if (output === 'html') return (await import('./page.ts')).page(report);
  const { isEmpty, timeline } = await import('./timeline.ts');
  if (isEmpty(report))
    throw usage(`${report.migration.name} began no handoff, so there is no timeline; take -o html or json`);
  return `${timeline(report).text}\n`;
};

/** `-`, or no file: standard output. Throws SHADOW_E_FILE. */
export const put = async (text: string, file: string | undefined, io: Io): Promise<void> => {
  if (file === undefined || file === '-') {
    io.out(text.trimEnd());
    return;
  }
  try {
    await writeFile(file, text);
  } catch (error) {
    throw new ShadowError('SHADOW_E_FILE', (error as Error).message, { cause: error });
  }
  io.err(`${file} written`);
};

export const report = async (flags: ReportFlags, io: Io): Promise<void> => {
  const { api, namespace } = await connectTo(flags);
  const [found] = await findMigrations(api, namespace, flags.name === undefined ? [] : [flags.name]);
  const text = await rendered(reportOf(found!, Date.now(), clientVersion()), flags.output);
  await put(text, flags.file, io);
};
