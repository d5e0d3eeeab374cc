/** Makes the workers of the matrix and RabbitMQ 4, so that no test waits for that: `node test/clients/make.ts`. Needs root. */
import { pikaPackage } from '../../scripts/images/python.ts';
import { installation } from '../../scripts/playground/rabbitmq.ts';
import { goWorker, javaWorker } from './builds.ts';

for (const make of [pikaPackage, goWorker, javaWorker, () => installation('4')]) await make();
