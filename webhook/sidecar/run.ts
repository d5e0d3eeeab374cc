/** The process around a sidecar: signals and errors nobody caught. */
import { asShadowError } from '../api/errors.ts';
import type { Log } from '../log.ts';
import { type CreateRelay, type Sidecar, startSidecar } from './sidecar.ts';

export const runProcess = (createRelay: CreateRelay, log: Log): void => {
  let sidecar: Sidecar | undefined;
  // The app's connections run through this process: an error of one of them, or of the control side, must not end the others.
  process.on('uncaughtException', (error) => log.error({ err: error }, 'uncaught'));
  process.on('unhandledRejection', (error) => log.error({ err: error }, 'unhandled rejection'));

  let stopping = false;
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) return;
    stopping = true;
    log.info({ signal }, 'stopping');
    Promise.resolve(sidecar?.stop()).then(
      () => process.exit(0),
      (error: unknown) => {
        log.error({ err: error }, 'stopping');
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);

  startSidecar(process.env, createRelay, log).then(
    (made) => {
      sidecar = made;
    },
    (error: unknown) => {
      const { code, message } = asShadowError(error);
      log.fatal({ code, err: error }, message);
      process.exit(1);
    },
  );
};
