import { type Logger, pino } from 'pino';

export type Log = Logger;

const LEVELS: readonly string[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

/**
 * JSON lines on standard output, level by SHADOW_LOG (default info). Written synchronously: nothing may be left in a buffer
 * when a sidecar stops all I/O to be dumped, or when a process dies.
 */
export const createLog = (part: string, env: NodeJS.ProcessEnv = process.env): Log => {
  const wanted = env.SHADOW_LOG ?? 'info';
  const output = pino.destination({ fd: 1, sync: true });
  // Nobody reads it any more: no reason to stop relaying (invariant 6).
  output.on('error', () => {});
  const log = pino(
    {
      level: LEVELS.includes(wanted) ? wanted : 'info',
      base: { part },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    output,
  );
  if (!LEVELS.includes(wanted)) log.warn({ SHADOW_LOG: wanted }, 'no such log level, taking info');
  return log;
};
