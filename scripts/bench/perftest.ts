/** RabbitMQ PerfTest: how it is called, and what it says. It tells once per interval; the first one warms up, the second is measured. */
import { readFileSync } from 'node:fs';
import { type Running, start } from './processes.ts';
import type { Row } from './rows.ts';

export interface Call {
  readonly classPath: string;
  readonly host: string;
  readonly port: number;
  readonly row: Row;
  /** Length of an interval. */
  readonly seconds: number;
  /** Names its queues: <queues>-1 … */
  readonly queues: string;
  /** Where it writes its figures. */
  readonly csv: string;
}

/** Beyond the two intervals: it starts its clock before its last consumer is there. */
const MARGIN_SECONDS = 2;

export const argumentsFor = ({ classPath, host, port, row, seconds, queues, csv }: Call): string[] => [
  // Figures with a point, whatever the machine's language.
  ...['-Xmx512m', '-Duser.language=en', '-Duser.country=US', '-cp', classPath, 'com.rabbitmq.perf.PerfTest'],
  ...['--uri', `amqp://guest:guest@${host}:${port}`, '--disable-connection-recovery'],
  ...['--producers', `${row.producers}`, '--consumers', `${row.consumers}`, '--size', `${row.size}`],
  ...['--confirm', `${row.confirms}`, '--qos', `${row.prefetch}`],
  ...(row.rate === undefined ? [] : ['--rate', `${row.rate}`]),
  // Not auto-delete: a pod with such a queue is not fit to be recorded.
  ...['--queue-pattern', `${queues}-%d`, '--queue-pattern-from', '1', '--queue-pattern-to', `${row.queues}`],
  ...['--auto-delete', 'false', '--interval', `${seconds}`, '--time', `${2 * seconds + MARGIN_SECONDS}`],
  ...['--output-file', csv],
];

export const queuesOf = ({ row, queues }: Pick<Call, 'row' | 'queues'>): string[] =>
  Array.from({ length: row.queues }, (_, index) => `${queues}-${index + 1}`);

export interface Interval {
  /** Seconds since the start. */
  readonly until: number;
  /** Messages a second. */
  readonly published: number;
  readonly received: number;
  /** Microseconds. */
  readonly latency: { readonly median: number; readonly p95: number; readonly p99: number };
}

const COLUMNS = {
  until: /^time \(s\)$/,
  published: /^published \(msg\/s\)$/,
  received: /^received \(msg\/s\)$/,
  median: /^median (consumer )?latency \(µs\)$/,
  p95: /^95th p\. (consumer )?latency \(µs\)$/,
  p99: /^99th p\. (consumer )?latency \(µs\)$/,
} as const;

/** Its --output-file. Throws when a column is missing or holds no number. */
export const intervalsOf = (csv: string): Interval[] => {
  const [head = '', ...lines] = csv.trim().split('\n');
  const titles = head.split(',').map((title) => title.trim());
  const column = (name: keyof typeof COLUMNS): number => {
    const index = titles.findIndex((title) => COLUMNS[name].test(title));
    if (index < 0) throw new Error(`PerfTest told no ${name}: ${head}`);
    return index;
  };
  const at = Object.fromEntries(Object.keys(COLUMNS).map((name) => [name, column(name as keyof typeof COLUMNS)]));
  return lines.map((line) => {
    const fields = line.split(',');
    const value = (name: keyof typeof COLUMNS): number => {
      const text = fields[at[name]!]?.trim() ?? '';
      const number = Number(text);
      if (text === '' || !Number.isFinite(number)) throw new Error(`PerfTest told no ${name}: ${line}`);
      return number;
    };
    const latency = { median: value('median'), p95: value('p95'), p99: value('p99') };
    return { until: value('until'), published: value('published'), received: value('received'), latency };
  });
};

/** Whether it tells of an interval that is over by this line. */
export const tellsInterval = (line: string): boolean => /\btime:? [\d.]+ ?s\b/.test(line) && line.includes('received');

export interface Measured extends Interval {
  readonly seconds: number;
}

/** It takes options from the environment too, by their plain names ("SIZE"): none of these are meant for it. */
const ENVIRONMENT = { RABBITMQ_PERF_TEST_ENV_PREFIX: 'SHADOW_BENCH_PERF_TEST' };

/** Longest time to start, to connect and to end. */
const PATIENCE_SECONDS = 60;

/**
 * Runs it to the end. `mark` is called at the beginning and the end of the measured window, `beside` as soon as it runs; if
 * either fails, so does this, and PerfTest is stopped.
 */
export const perfTest = async (
  call: Call,
  mark: (edge: 'begin' | 'end') => void,
  beside: () => Promise<void>,
): Promise<Measured> => {
  let told = 0;
  let failure: unknown;
  let running: Running | undefined;
  const fail = (error: unknown): void => {
    failure ??= error;
    void running?.stop();
  };
  const onLine = (line: string): void => {
    if (!tellsInterval(line)) return;
    told += 1;
    if (told > 2) return;
    try {
      mark(told === 1 ? 'begin' : 'end');
    } catch (error) {
      fail(error);
    }
  };
  running = start(['java', ...argumentsFor(call)], { onLine, env: ENVIRONMENT });
  const most = 2 * call.seconds + MARGIN_SECONDS + PATIENCE_SECONDS;
  const late = setTimeout(() => fail(new Error(`PerfTest has not ended within ${most} s`)), most * 1000);
  const [code] = await Promise.all([running.ended, beside().catch(fail)]);
  clearTimeout(late);
  if (failure !== undefined) throw failure;
  if (code !== 0) throw new Error(`PerfTest ended with ${code}:\n${running.said().slice(-2000)}`);
  const [first, second] = intervalsOf(readFileSync(call.csv, 'utf8'));
  if (!first || !second || told < 2) throw new Error(`PerfTest told no two intervals:\n${running.said().slice(-2000)}`);
  return { ...second, seconds: second.until - first.until };
};
