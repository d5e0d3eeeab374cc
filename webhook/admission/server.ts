/** POST /inject, /restore, /validate: AdmissionReview in and out. */
import express, { type NextFunction, type Request, type Response } from 'express';
import { Counter, Histogram, type Registry } from 'prom-client';
import * as z from 'zod';
import { ShadowError } from '../api/errors.ts';
import type { Log } from '../log.ts';
import { answerTo, Malformed, type Question, Review, type Verdict } from './review.ts';
import { injectVerdict, restoreVerdict, type Surroundings, validateVerdict } from './verdicts.ts';

export interface ServerOptions extends Surroundings {
  registry: Registry;
  log: Pick<Log, 'info' | 'warn' | 'error'>;
}

type Judge = (question: Question, around: Surroundings) => Verdict | Promise<Verdict>;
const JUDGES: Record<string, Judge> = {
  inject: injectVerdict,
  restore: restoreVerdict,
  validate: validateVerdict,
};

const parse = (body: unknown): Question => {
  const parsed = Review.safeParse(body);
  if (!parsed.success) throw new Malformed(`no AdmissionReview v1: ${z.prettifyError(parsed.error)}`);
  return parsed.data.request;
};

/** A refusal of ours is a verdict; any other error is HTTP 500, and the configuration's failurePolicy decides. */
const judged = async (judge: Judge, question: Question, around: Surroundings): Promise<Verdict> => {
  try {
    return await judge(question, around);
  } catch (error) {
    if (error instanceof ShadowError && error.code !== 'SHADOW_E_INTERNAL') return { allowed: false, error };
    throw error;
  }
};

const statusOf = (error: unknown): number => {
  if (error instanceof Malformed) return 400;
  // body-parser's: bad JSON, too large.
  const status = (error as { status?: unknown }).status;
  return typeof status === 'number' && status >= 400 && status < 500 ? status : 500;
};

export const admissionApp = (options: ServerOptions): express.Express => {
  const { registry, log } = options;
  const seconds = new Histogram({
    name: 'shadow_admission_seconds',
    help: 'Time to answer an AdmissionReview.',
    labelNames: ['webhook'],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2],
    registers: [registry],
  });
  const verdicts = new Counter({
    name: 'shadow_admission_verdicts_total',
    help: 'AdmissionReviews by webhook and verdict.',
    labelNames: ['webhook', 'verdict'],
    registers: [registry],
  });
  const app = express();
  app.disable('x-powered-by');
  // Twice the API server's own limit of an object: an update carries the old one too.
  app.use(express.json({ limit: '6mb', type: () => true }));
  for (const [webhook, judge] of Object.entries(JUDGES)) {
    app.post(`/${webhook}`, async (request: Request, response: Response) => {
      const stop = seconds.startTimer({ webhook });
      const question = parse(request.body);
      const verdict = await judged(judge, question, options);
      const word = verdict.error?.code ?? (verdict.patch?.length ? 'patched' : 'allowed');
      verdicts.inc({ webhook, verdict: word });
      const { namespace, operation, dryRun } = question;
      const name = (question.object?.metadata as { name?: string } | undefined)?.name;
      log.info(
        { webhook, namespace, name, operation, dryRun, verdict: word, detail: verdict.error?.message },
        'answered',
      );
      stop();
      response.json(answerTo(question.uid, verdict));
    });
  }
  app.use((error: unknown, request: Request, response: Response, next: NextFunction) => {
    if (response.headersSent) return next(error);
    const status = statusOf(error);
    log[status === 500 ? 'error' : 'warn']({ err: error, url: request.url }, 'not answered');
    response.status(status).json({ error: status === 500 ? 'internal error' : (error as Error).message });
  });
  return app;
};
