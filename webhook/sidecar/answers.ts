/** What the controller is told of a command that was carried out, or could not be. */
import type { Answer, Command } from '../api/control.ts';
import { asShadowError, type ErrorCode } from '../api/errors.ts';
import type { Log } from '../log.ts';

/** What a failure of the command means when the relay does not say. */
const FAILURE: Partial<Record<Command['type'], ErrorCode>> = {
  mute: 'SHADOW_E_MUTE',
  freeze: 'SHADOW_E_FREEZE',
  attach: 'SHADOW_E_ATTACH',
  live: 'SHADOW_E_ATTACH',
  replay: 'SHADOW_E_RECORD',
  serve: 'SHADOW_E_RECORD',
};

/** undefined: it has been answered already. Never rejects. */
export const answerTo = async (
  command: Command,
  carryOut: (command: Command) => Promise<unknown>,
  log: Pick<Log, 'warn'>,
): Promise<Answer | undefined> => {
  try {
    const result = await carryOut(command);
    return result === undefined ? undefined : { type: 'answer', id: command.id, ok: true, result };
  } catch (error) {
    const { code, message, retryable } = asShadowError(error, FAILURE[command.type]);
    log.warn({ command: command.type, code, err: error }, 'command failed');
    return { type: 'answer', id: command.id, ok: false, error: { code, message, retryable } };
  }
};
